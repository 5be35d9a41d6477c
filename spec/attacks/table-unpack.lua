-- Tries to put a thousand million values on the stack.
-- worker: error error .-%.lua:%d+ .*too many results.*
local function attack(service, cluster)
  return table.unpack({}, 1, 1e9)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
