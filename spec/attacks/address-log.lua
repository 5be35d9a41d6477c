-- Tries to learn where things lie in memory, by log.
-- worker: refuse x log table|function|decision: use|nil
local function attack(service, cluster)
  log(setmetatable({}, { __name = "named" }))
  log(attack)
  log(use("10.0.0.1"))
  log(nil)
  return refuse("x")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
