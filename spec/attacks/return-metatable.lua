-- Tries to borrow the metatable of a decision.
-- worker: error error .* returned a table, not a decision
local function attack(service, cluster)
  return setmetatable({}, { __index = use("10.0.0.9"), __metatable = false, __name = "decision" })
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
