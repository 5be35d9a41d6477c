-- Tries to return what is no decision.
-- worker: error error return%-number%.lua:%d+ returned a number, not a decision
local function attack(service, cluster)
  return 42
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
