-- Tries a host name of DHCP with bytes that are none.
-- worker: dhcp a b%?
local function attack(service, cluster)
  return dhcp({ hostname = "a\nb\255" })
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
