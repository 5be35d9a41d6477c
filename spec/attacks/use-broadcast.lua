-- Tries to give the broadcast address.
-- worker: use 255%.255%.255%.255 rejected .*broadcast.*
local function attack(service, cluster)
  return use("255.255.255.255")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
