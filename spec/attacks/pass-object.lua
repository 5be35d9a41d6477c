-- Tries to pass for a reason that is a table.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  return nil, setmetatable({}, { __tostring = function() while true do end end })
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
