--- The globals of a policy: an allow-list. No io, os, package, debug, load, coroutine, collectgarbage, string.dump.
-- @module moonlb.policy.environment
local environment = {}

local GLOBALS = { "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal",
  "rawget", "rawlen", "rawset", "select", "tonumber", "tostring", "type" }
local LIBRARIES = { "math", "string", "table", "utf8" }
-- What the worker does not have either: chance, bytes, and work that no limit counts.
local LEFT_OUT = { ["math.random"] = true, ["math.randomseed"] = true, ["string.dump"] = true, ["string.pack"] = true,
  ["string.packsize"] = true, ["string.unpack"] = true, ["table.move"] = true }

-- A finalizer runs where nothing can stop it.
local function set_metatable(value, metatable)
  if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then
    error("setmetatable: __gc is not for policies", 2)
  end
  return setmetatable(value, metatable)
end

-- The handler runs after unwinding, where a limit can still stop it. It sees the message, not the stack.
local function protected_call(call, handler, ...)
  local results = table.pack(pcall(call, ...))
  if results[1] then return table.unpack(results, 1, results.n) end
  return false, handler(results[2])
end

local function copy(library)
  local result = {}
  for name, value in pairs(_G[library]) do
    if not LEFT_OUT[library .. "." .. name] then result[name] = value end
  end
  return result
end

--- A fresh environment: what one policy does to its tables, no other sees.
-- @tparam table extra  the policy API's names: `rule`, `use`, `share`, `dhcp`, `refuse`, `log`
-- @treturn table
function environment.new(extra)
  local env = { setmetatable = set_metatable, xpcall = protected_call }
  for _, name in ipairs(GLOBALS) do env[name] = _G[name] end
  for _, name in ipairs(LIBRARIES) do env[name] = copy(name) end
  for name, value in pairs(extra) do env[name] = value end
  return env
end

return environment
