--- Garbage after a burst of work: an idle process makes none, so nothing would collect what the burst left.
-- @module moonlb.memory
local async = require("moonlb.async")
local runtime = require("moonlb.core.runtime")

local memory = {}

-- Size of one slice of a collection, in KiB.
local GARBAGE_PER_TURN = 400

--- Collect a slice in a turn of the loop, then give the pages back to the kernel. In a task.
function memory.settle()
  repeat
    local is_done = collectgarbage("step", GARBAGE_PER_TURN)
  until is_done or not async.sleep(0)
  runtime.trim()
end

return memory
