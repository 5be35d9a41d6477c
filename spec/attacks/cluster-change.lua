-- Tries to change the cluster that the next rule sees.
-- worker: error error .-%.lua:%d+ .*cluster cannot be changed.*
local function attack(service, cluster)
  cluster.pool = function() return { free = function() return "1.1.1.1" end } end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
