-- Tries to concatenate a range that is not there.
-- worker: error error .-%.lua:%d+ .*invalid value.*
local function attack(service, cluster)
  return nil, table.concat({}, "x", 1, 1e15)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
