-- Tries a host that looks like the allowed one.
-- worker: refuse no plain http address
local function attack(service, cluster)
  local _, why = http.get("http://ipam.example@evil.example/")
  return refuse(why)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
