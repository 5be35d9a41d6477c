-- Tries to loop in C over a huge range of nothing.
-- worker: error error table%-move%.lua:%d+ .*attempt to [%l ]+ a nil value.*'move'.*
local function attack(service, cluster)
  table.move({}, 1, 1e15, 2)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
