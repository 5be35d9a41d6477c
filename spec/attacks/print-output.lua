-- Tries to write to the controller's output.
-- worker: error error print%-output%.lua:%d+ .*attempt to [%l ]+ a nil value.*'print'.*
local function attack(service, cluster)
  print("moonlb is mine")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
