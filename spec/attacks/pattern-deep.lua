-- Tries to overflow the C stack by a pattern.
-- worker: error error .-%.lua:%d+ .*pattern too complex.*
local function attack(service, cluster)
  return ("a"):rep(1000):find(("a?"):rep(1000))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
