-- Empties the table and makes it grow while it is sorted.
-- worker: use 10%.0%.0%.9
local function attack(service, cluster)
  local list = {}
  for i = 1, 1000 do list[i] = 1000 - i end
  table.sort(list, function(a, b)
    for i = 1, 10 do list[#list + 1], list[i] = i, nil end
    return (a or 0) < (b or 0)
  end)
  return use("10.0.0.9")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
