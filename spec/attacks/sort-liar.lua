-- Tries to send table.sort out of its array by a comparator that lies.
-- worker: error error .-%.lua:%d+ .*invalid order function for sorting.*
local function attack(service, cluster)
  local list = {}
  for i = 1, 100 do list[i] = i % 7 end
  table.sort(list, function() return true end)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
