-- Tries to change what strings do for everybody.
-- worker: refuse false
local function attack(service, cluster)
  return refuse(tostring(getmetatable("")))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
