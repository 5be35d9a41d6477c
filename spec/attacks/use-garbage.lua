-- Tries to give what is no address.
-- worker: use banana rejected .*not an address.*
local function attack(service, cluster)
  return use("banana")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
