-- Tries to give an address twice.
-- worker: use 10%.0%.0%.9,10%.0%.0%.9 rejected 10%.0%.0%.9 is there twice
local function attack(service, cluster)
  return use("10.0.0.9", "10.0.0.9")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
