-- Tries to add a finalizer after the metatable was looked at.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  local metatable = {}
  local object = setmetatable({}, metatable)
  metatable.__gc = function() while true do end end
  object = nil
  local garbage
  for i = 1, 10000 do garbage = { i, garbage and garbage[1], object } end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
