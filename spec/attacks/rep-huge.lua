-- Tries a string of ten gigabytes.
-- worker: error error .-%.lua:%d+ .*string.rep would make more than 1048576 bytes.*
local function attack(service, cluster)
  return nil, ("x"):rep(1e10)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
