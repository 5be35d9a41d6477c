-- Tries to fill the memory little by little, below every limit.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  hoard = hoard or {}
  for i = 1, 20000 do hoard[#hoard + 1] = i end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
