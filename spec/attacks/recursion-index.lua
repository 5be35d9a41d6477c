-- Tries to overflow the C stack by __index that index.
-- worker: error error .-%.lua:%d+ .*.*
local function attack(service, cluster)
  local object = setmetatable({}, { __index = function(self, key) return self[key .. "x"] end })
  return object.x
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
