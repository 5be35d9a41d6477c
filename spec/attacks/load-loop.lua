-- Tries to run for ever when it is loaded.
-- worker: load load%-loop%.lua:3: took more than 4000000 steps
while true do end
