-- Tries to ask outside when it is loaded.
-- worker: load load%-http%.lua:3: http%.get: only a rule can ask
local answer = http.get("http://ipam.example/")
return answer
