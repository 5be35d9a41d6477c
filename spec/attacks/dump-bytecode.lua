-- Tries to get bytecode of a function.
-- worker: error error dump%-bytecode%.lua:%d+ .*attempt to [%l ]+ a nil value.*'dump'.*
local function attack(service, cluster)
  return string.dump(attack)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
