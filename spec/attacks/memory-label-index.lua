-- Asks for thousands of labels that nobody has, each of which could be remembered.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  for i = 1, 3000 do cluster.count({ label = { "label-" .. i, "x" } }) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
