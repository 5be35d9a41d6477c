-- Tries to run a file.
-- worker: error error dofile%-path%.lua:%d+ .*attempt to [%l ]+ a nil value.*'dofile'.*
local function attack(service, cluster)
  return dofile("/etc/passwd")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
