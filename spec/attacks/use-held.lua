-- Tries to move another Service's address.
-- worker: use 10%.0%.0%.200 rejected 10%.0%.0%.200 is held by Service other/held
local function attack(service, cluster)
  return use("10.0.0.200")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
