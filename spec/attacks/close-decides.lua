-- Makes another decision in __close, when the one to return is already chosen.
-- worker: use 10%.0%.0%.9
local function attack(service, cluster)
  local decision
  local last <close> = setmetatable({}, { __close = function() decision = use("10.0.0.200") end })
  do local first <close> = setmetatable({}, { __close = function() decision = use("10.0.0.9") end }) end
  return decision
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
