-- Raises a decision, catches it and returns it.
-- worker: use 10%.0%.0%.9
local function attack(service, cluster)
  local _, decision = pcall(function() error(use("10.0.0.9")) end)
  return decision
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
