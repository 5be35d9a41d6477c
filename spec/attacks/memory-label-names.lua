-- Asks for labels with names of half a mebibyte, each of which could be remembered: 20 MiB in all.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  for i = 1, 40 do cluster.count({ label = { ("x"):rep((1 << 19) - 10) .. i, "x" } }) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
