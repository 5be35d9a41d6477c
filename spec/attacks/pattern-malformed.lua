-- Tries a pattern that ends within a set.
-- worker: error error .-%.lua:%d+ .*missing '%]'.*
local function attack(service, cluster)
  return ("a"):find("[a%")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
