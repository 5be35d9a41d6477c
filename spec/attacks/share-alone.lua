-- Tries to share an address that nobody holds.
-- worker: share 10%.0%.0%.9 rejected nobody holds 10%.0%.0%.9.*
local function attack(service, cluster)
  return share("10.0.0.9")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
