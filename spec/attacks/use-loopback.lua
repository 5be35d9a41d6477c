-- Tries to give a loopback address.
-- worker: use 127%.0%.0%.1 rejected .*loopback.*
local function attack(service, cluster)
  return use("127.0.0.1")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
