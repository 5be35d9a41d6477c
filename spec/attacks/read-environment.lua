-- Tries to read the environment.
-- worker: error error read%-environment%.lua:%d+ .*attempt to [%l ]+ a nil value.*'os'.*
local function attack(service, cluster)
  return use(os.getenv("HOME"))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
