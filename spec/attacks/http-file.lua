-- Tries to read a file by http.
-- worker: error error .-%.lua:%d+ .*http:// or https:// address expected.*
local function attack(service, cluster)
  return http.get("file:///etc/passwd")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
