-- Tries to take the address of a node.
-- worker: use 10%.0%.0%.250 rejected .*address of node node%-1
local function attack(service, cluster)
  return use("10.0.0.250")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
