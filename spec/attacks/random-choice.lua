-- Tries to decide differently each time it is asked.
-- worker: error error random%-choice%.lua:%d+ .*attempt to [%l ]+ a nil value.*'random'.*
local function attack(service, cluster)
  return use("10.0.0." .. math.random(250))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
