-- Recurses in __close.
-- worker: error error .-%.lua:%d+ .*C stack overflow
local function attack(service, cluster)
  local function again()
    local guard <close> = setmetatable({}, { __close = function() again() end })
  end
  again()
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
