-- Calls the cluster's functions with what they do not take.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  local things = { 0/0, {}, true, "x", math.mininteger, function() end, cluster, cluster.global_pool(),
    use("10.0.0.1") }
  for _, name in ipairs({ "namespace_pool", "global_pool", "pool", "requested", "usable", "count", "services" }) do
    for _, thing in ipairs(things) do pcall(cluster[name], thing) end
  end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
