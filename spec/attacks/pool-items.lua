-- Asks for an address of a pool of twenty thousand ranges.
-- worker: use 10%.0%.1%.1
local function attack(service, cluster)
  local ranges = {}
  for i = 1, 20000 do ranges[i] = ("10.%d.%d.1-10.%d.%d.5"):format(i // 250, i % 250, i // 250, i % 250) end
  return use(cluster.pool(table.concat(ranges, ",")):free())
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
