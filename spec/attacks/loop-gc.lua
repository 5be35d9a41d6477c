-- Tries to run for ever in a finalizer, where Lua has hooks off.
-- worker: error error .-%.lua:%d+ .*__gc is not available.*
local function attack(service, cluster)
  setmetatable({}, { __gc = function() while true do end end })
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
