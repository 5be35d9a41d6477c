-- Tries to give a multicast address.
-- worker: use 224%.0%.0%.1 rejected .*multicast.*
local function attack(service, cluster)
  return use("224.0.0.1")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
