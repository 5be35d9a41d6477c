-- Tries to give a single stack Service addresses of both families.
-- worker: use 10%.0%.0%.9,fd00::1 rejected .*both families.*
local function attack(service, cluster)
  return use("10.0.0.9", "fd00::1")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
