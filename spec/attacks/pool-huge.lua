-- Tries a pool of all addresses there are.
-- worker: use :: rejected .*unspecified.*
local function attack(service, cluster)
  return use(cluster.pool("::/0"):free({ family = 6 }))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
