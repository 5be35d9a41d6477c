-- Tries to run where the count hook does not: in a coroutine.
-- worker: error error coroutine%-hide%.lua:%d+ .*attempt to [%l ]+ a nil value.*'coroutine'.*
local function attack(service, cluster)
  return coroutine.wrap(function() while true do end end)()
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
