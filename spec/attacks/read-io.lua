-- Tries to read a file.
-- worker: error error read%-io%.lua:%d+ .*attempt to [%l ]+ a nil value.*'io'.*
local function attack(service, cluster)
  return use(io.open("/etc/passwd"):read("l"))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
