-- Tries an api that is a table with a __tostring.
-- worker: load load%-api%-object%.lua: api = table: .*
return { api = setmetatable({}, { __tostring = function() while true do end end }), rules = { rule.static } }
