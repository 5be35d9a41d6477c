--- What a rule may return to end the matter. Decisions are opaque: made here, told by identity, and never by what they
-- hold. They are good for the call in which they were made, so that a policy cannot hoard them.
-- @module moonlb.policy.decision
local decision = {}

-- `made`: decision -> its fields, those made since `begin`. In a table, not in an upvalue of its own: in the
-- generational mode of Lua's collector, what is put into an old upvalue is old at once, and stays until a full
-- collection.
local own = { made = {} }

local OPAQUE = {
  __name = "decision",
  __metatable = false,
  __index = function() error("a decision has no fields", 2) end,
  __newindex = function() error("a decision cannot be changed", 2) end,
  __tostring = function(value) return "decision" .. (own.made[value] and ": " .. own.made[value].kind or "") end,
}

--- Forget the decisions made so far: a new Service is decided.
function decision.begin()
  for value in pairs(own.made) do own.made[value] = nil end
end

--- @tparam table fields  `kind`: use, share, dhcp or refuse; `addresses`, `hostname`, `reason`
-- @treturn table  the decision
function decision.new(fields)
  local value = setmetatable({}, OPAQUE)
  own.made[value] = fields
  return value
end

--- The fields of a decision made since `begin`; nil for anything else.
function decision.open(value)
  if value == nil then return nil end
  return own.made[value]
end

return decision
