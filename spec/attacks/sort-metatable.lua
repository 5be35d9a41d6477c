-- Gives the table a metatable while it is sorted: its metamethods count.
-- worker: error budget .-%.lua:4 took more than 4000000 steps
local function attack(service, cluster)
  local function endless() while true do end end
  local list = { 3, 2, 1, 5, 4, 8, 7, 6 }
  table.sort(list, function(a, b)
    setmetatable(list, { __index = endless, __newindex = endless })
    list[1] = nil
    return (a or 0) < (b or 0)
  end)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
