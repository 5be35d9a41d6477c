-- Tries to redefine use for the stock rules.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  use = function() return "10.0.0.200" end
  return nil
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
