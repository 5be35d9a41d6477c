--- The libraries of a session. What loops in C without an end of its own is bounded here, for no hook runs there:
-- neither the budget nor Ctrl-C would end it.
-- @module moonlb.control.repl.bounded
local matching = require("moonlb.core.matching")

local bounded = {}

bounded.BYTES = 16 << 20 -- that `string.rep` makes at most

--- As `string`: also the strings' methods while something of the user's runs. Our own code is among its callers then.
bounded.string = setmetatable({}, { __index = string })
for name, fn in pairs(matching) do bounded.string[name] = fn end

function bounded.string.rep(text, count, separator)
  local each = #string.rep(text, 1) + #string.rep(separator or "", 1)
  local times = tonumber(count)
  if times and times * each > bounded.BYTES then
    error(("string.rep would make more than %d MiB"):format(bounded.BYTES >> 20), 2)
  end
  return string.rep(text, each == 0 and times and 1 or count, separator)
end

-- The table functions go on for as long as a __len says.
local function of_plain(name)
  local fn = table[name]
  return function(value, ...)
    local meta = type(value) == "table" and debug.getmetatable(value)
    if meta and (meta.__len ~= nil or meta.__index ~= nil or meta.__newindex ~= nil) then
      error(("table.%s: a table with a metatable of its own is not for it"):format(name), 2)
    end
    return fn(value, ...)
  end
end

local function below(a, b) return a < b end

local sort = of_plain("sort")

-- A comparison of Lua's, so that the hook runs between two of them.
local function sort_in_lua(value, is_below)
  return sort(value, is_below or below)
end

--- Put them into an environment that has libraries of its own.
-- @tparam table env  of `moonlb.policy.environment`
function bounded.apply(env)
  for name, fn in pairs(bounded.string) do env.string[name] = fn end
  for _, name in ipairs({ "concat", "insert", "remove", "unpack" }) do env.table[name] = of_plain(name) end
  env.table.sort = sort_in_lua
  -- The strings' metatable is that of our own code.
  env.getmetatable = function(value)
    if type(value) == "string" then return "the strings of the session" end
    return getmetatable(value)
  end
end

return bounded
