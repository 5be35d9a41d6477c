-- Tries to learn where things lie in memory, by string.format.
-- worker: error error .-%.lua:%d+ .*%%p is not available.*
local function attack(service, cluster)
  return refuse(string.format("%p", {}))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
