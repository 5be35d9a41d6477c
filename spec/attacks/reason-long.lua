-- Tries a reason of a megabyte.
-- worker: refuse x+%.%.%.
local function attack(service, cluster)
  return refuse(("x"):rep(1000000))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
