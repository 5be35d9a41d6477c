-- Tries backtracking that takes longer than the universe has.
-- worker: error budget .-%.lua:[1-9]%d* took more than 4000000 steps
local function attack(service, cluster)
  return ("a"):rep(40000):find(("a*"):rep(40) .. "b")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
