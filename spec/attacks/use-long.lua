-- Tries an address of a megabyte.
-- worker: error error .*address 1 is too long
local function attack(service, cluster)
  return use(("1"):rep(1000000))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
