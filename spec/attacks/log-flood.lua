-- Tries to log without end.
-- worker: use 10%.0%.0%.1 log x+|x+|x+|x+|x+|x+|x+|x+
local function attack(service, cluster)
  for _ = 1, 1000 do log(("x"):rep(10000)) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
