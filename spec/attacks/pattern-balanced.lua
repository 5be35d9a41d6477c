-- Tries quadratic time with %b.
-- worker: error budget .-%.lua:[1-9]%d* took more than 4000000 steps
local function attack(service, cluster)
  return ("("):rep(1000000):find("%b()")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
