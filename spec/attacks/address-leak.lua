-- Tries to learn where things lie in memory.
-- worker: refuse table function decision: use
local function attack(service, cluster)
  return refuse(tostring({}) .. " " .. tostring(attack) .. " " .. tostring(use("10.0.0.1")))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
