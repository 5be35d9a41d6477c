-- Tries to overflow the C stack by nested pcall.
-- worker: error error .-%.lua:%d+ .*.*
local function attack(service, cluster)
  local function deeper() return select(2, assert(pcall(deeper))) end
  error(tostring(deeper()))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
