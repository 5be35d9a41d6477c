-- Tries to outlive the limit: it catches the error and goes on.
-- worker: error budget .-%.lua:[1-9]%d* took more than 4000000 steps
local function attack(service, cluster)
  while true do pcall(function() while true do end end) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
