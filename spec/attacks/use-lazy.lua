-- Tries addresses that come from a metatable.
-- worker: error error .*an address expected.*
local function attack(service, cluster)
  return use(setmetatable({}, { __len = function() return 1e9 end, __index = function() return "10.0.0.9" end }))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
