-- Tries to ask outside for ever.
-- worker: error E2BIG .*asked outside more than 8 times
local function attack(service, cluster)
  for i = 1, 1000 do http.get("http://ipam.example/" .. i) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
