-- Tries addresses that are tables.
-- worker: error error .*address 1 is a table
local function attack(service, cluster)
  return use({ { "10.0.0.9" } })
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
