-- Tries to load a library.
-- worker: error error package%-loadlib%.lua:%d+ .*attempt to [%l ]+ a nil value.*'package'.*
local function attack(service, cluster)
  return package.loadlib("libc.so.6", "system")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
