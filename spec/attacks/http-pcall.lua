-- Tries to outlive the wait for an answer by pcall.
-- worker: use 10%.0%.0%.77
local function attack(service, cluster)
  while true do
    local ok, answer = pcall(http.get, "http://ipam.example/next")
    if ok then return use(answer.body) end
  end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
