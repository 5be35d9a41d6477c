-- Tries to be stopped while the host's own code holds addresses for a moment.
-- worker: error budget .-%.lua:[1-9]%d* took more than 4000000 steps
local function attack(service, cluster)
  local pool = cluster.global_pool()
  while true do pool:free({ n = 16 }) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
