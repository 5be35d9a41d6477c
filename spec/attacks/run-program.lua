-- Tries to run a program.
-- worker: error error run%-program%.lua:%d+ .*attempt to [%l ]+ a nil value.*'os'.*
local function attack(service, cluster)
  os.execute("true")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
