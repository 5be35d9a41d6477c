-- Changes what is weak in a table as it fills.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  local metatable = {}
  local list = setmetatable({}, metatable)
  for i = 1, 20000 do
    metatable.__mode = i % 2 == 0 and "k" or "v"
    list[{}] = {}
  end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
