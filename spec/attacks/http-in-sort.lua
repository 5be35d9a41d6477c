-- Asks outside in a comparator, and catches the wait each time.
-- worker: error E2BIG .-%.lua:%- asked outside more than 8 times
local function attack(service, cluster)
  local list = {}
  for i = 1, 50 do list[i] = 50 - i end
  pcall(table.sort, list, function(a, b)
    pcall(http.get, "http://ipam.example/" .. a)
    return a < b
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
