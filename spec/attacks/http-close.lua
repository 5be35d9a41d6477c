-- Tries to run for ever in a __close while the answer is awaited.
-- worker: use 10%.0%.0%.77
local function attack(service, cluster)
  local _ <close> = setmetatable({}, { __close = function() while not done do end end })
  local answer = http.get("http://ipam.example/next")
  done = true
  return use(answer.body)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
