-- Tries to loop in C as long as a __len says.
-- worker: error error .-%.lua:%d+ .*without metatable expected.*
local function attack(service, cluster)
  table.insert(setmetatable({}, { __len = function() return 1e9 end }), 1, "x")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
