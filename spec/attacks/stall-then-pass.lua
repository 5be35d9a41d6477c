-- Tries to use up nearly the whole limit, and decide.
-- worker: use 10%.0%.0%.9
local function attack(service, cluster)
  for _ = 1, 1000000 do end
  return use("10.0.0.9")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
