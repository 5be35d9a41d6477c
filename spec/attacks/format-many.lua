-- Tries conversions without end.
-- worker: error %l+ .-%.lua:[1-9]%d* took more than .*
local function attack(service, cluster)
  while true do string.format("%99.99f", 1e308) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
