-- Makes the Service contain itself, and passes it on to the stock rules.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  service.metadata.labels.self, service.self = service, service
  setmetatable(service, { __index = service })
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
