-- Tries to return an address as text.
-- worker: error error return%-string%.lua:%d+ returned a string, not a decision
local function attack(service, cluster)
  return "10.0.0.9"
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
