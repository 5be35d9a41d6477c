-- Tries to reach the registry.
-- worker: error error debug%-registry%.lua:%d+ .*attempt to [%l ]+ a nil value.*'debug'.*
local function attack(service, cluster)
  return debug.getregistry()
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
