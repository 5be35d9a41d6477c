-- Recurses in the metamethods of operators.
-- worker: error error .-%.lua:%d+ .*C stack overflow
local function attack(service, cluster)
  local object = {}
  setmetatable(object, { __concat = function(a) return -a end, __unm = function(a) return #a end,
    __len = function(a) return a .. a end })
  return refuse(object .. object)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
