--- How much of what a person wrote may run: processor time, memory, until Ctrl-C. It runs in the person's own process,
-- never in the daemon; this is for the person, and for the memory limit of the Pod that both may share.
-- @module moonlb.control.repl.budget
local bounded = require("moonlb.control.repl.bounded")
local edit = require("moonlb.core.edit")

local budget = {}

budget.SECONDS, budget.MEGABYTES = 10, 64
local STEP = 10000 -- instructions between two looks

-- Of the trace, what the user wrote.
local function trace_of(message)
  local lines = {}
  for line in debug.traceback("", 2):gmatch("[^\n]+") do
    if line:find("^%s+input:") then lines[#lines + 1] = line end
  end
  message = type(message) == "string" and message or ("(error object is a %s)"):format(type(message))
  if not lines[1] then return message end
  return message .. "\nstack traceback:\n" .. table.concat(lines, "\n", 1, math.min(#lines, 20))
end

local function too_much_memory(self)
  return ("stopped: it used more than %d MiB"):format(self.megabytes)
end

local function problem(self)
  if edit.interrupted() then return "interrupted" end
  if os.clock() - self.began > self.seconds then
    return ("stopped: it took more than %g s of processor time"):format(self.seconds)
  end
  if collectgarbage("count") > self.kilobytes then
    collectgarbage()
    if collectgarbage("count") > self.kilobytes then return too_much_memory(self) end
  end
  return nil
end

--- Call a function within the budget.
-- @tparam function fn
-- @tparam[opt] table limits  `seconds`, `megabytes`
-- @treturn boolean  true, and what it returned (`table.pack`ed); or false, and what is wrong, with the input's lines
function budget.call(fn, limits)
  limits = limits or {}
  local self = { began = os.clock(), seconds = limits.seconds or budget.SECONDS,
    megabytes = limits.megabytes or budget.MEGABYTES }
  self.kilobytes = collectgarbage("count") + self.megabytes * 1024
  edit.interrupted()
  local stopped
  local function hook()
    stopped = stopped or problem(self)
    if not stopped then return end
    debug.sethook(hook, "", 1) -- from here each instruction raises: no pcall of the user's goes on
    error(stopped, 0)
  end
  local strings = debug.getmetatable("")
  local before = strings.__index
  strings.__index = bounded.string
  debug.sethook(hook, "", STEP)
  local results = table.pack(xpcall(fn, function(message)
    debug.sethook()
    return trace_of(message)
  end))
  debug.sethook()
  strings.__index = before
  if results[1] and not stopped then
    return true, table.pack(table.unpack(results, 2, results.n))
  end
  if results[2] == "not enough memory" then
    collectgarbage()
    return false, too_much_memory(self)
  end
  return false, results[1] and stopped or results[2]
end

return budget
