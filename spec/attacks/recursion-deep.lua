-- Tries to overflow the stack of Lua.
-- worker: error %l+ .-%.lua:%d+ .*
local function attack(service, cluster)
  local function deeper(n) return 1 + deeper(n + 1) end
  return deeper(1)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
