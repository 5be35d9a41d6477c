-- Tries to overflow the C stack by sort within sort.
-- worker: error error .-%.lua:%d+ .*stack overflow.*
local function attack(service, cluster)
  local function deeper()
    table.sort({ 1, 2, 3 }, function() deeper() return false end)
  end
  deeper()
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
