-- Tries to learn where things lie in memory, by a format that goes on behind a zero byte.
-- worker: error error .-%.lua:4 .*%%p is not available to a policy
local function attack(service, cluster)
  return refuse(string.format("\0%-20p", {}))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
