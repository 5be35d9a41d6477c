-- Tries to give the string library another metatable.
-- worker: error error .-%.lua:%d+ .*cannot change a protected metatable.*
local function attack(service, cluster)
  setmetatable(string, {})
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
