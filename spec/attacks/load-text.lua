-- Tries to compile text outside of its environment.
-- worker: error error load%-text%.lua:%d+ .*attempt to [%l ]+ a nil value.*'load'.*
local function attack(service, cluster)
  return load("return io")()
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
