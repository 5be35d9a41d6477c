-- Tries to steer the collector.
-- worker: error error collector%.lua:%d+ .*attempt to [%l ]+ a nil value.*'collectgarbage'.*
local function attack(service, cluster)
  collectgarbage("stop")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
