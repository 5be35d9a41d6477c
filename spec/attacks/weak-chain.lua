-- Tries quadratic work for the collector, by a chain of weak tables.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  local weak = setmetatable({}, { __mode = "k" })
  local key = {}
  for _ = 1, 20000 do
    local value = {}
    weak[key] = value
    key = value
  end
  return use("10.0.0.1")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
