-- Tries to load a module of C.
-- worker: error error require%-module%.lua:%d+ .*attempt to [%l ]+ a nil value.*'require'.*
local function attack(service, cluster)
  return require("luv")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
