-- Tries quadratic time in a plain find: 1 MB in 512 kB.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  return nil, tostring(("a"):rep(1000000):find(("a"):rep(512000) .. "b", 1, true))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
