-- Tries more addresses than a Service can have.
-- worker: error error .*17 addresses, at most 16 are possible
local function attack(service, cluster)
  local list = {}
  for i = 1, 17 do list[i] = "10.0.0." .. i end
  return use(list)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
