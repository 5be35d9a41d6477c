-- Tries to change the Service that others see.
-- worker: refuse changed
local function attack(service, cluster)
  service.metadata.labels.app = "mine"
  service.metadata.name = "b"
  service.spec.ports[1].port = 22
  service.spec.type = nil
  return refuse("changed")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
