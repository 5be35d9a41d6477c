-- Tries to change a decision after it was made.
-- worker: error error .*a decision cannot be changed.*
local function attack(service, cluster)
  local decision = use("10.0.0.9")
  decision.addresses = { "10.0.0.200" }
  return decision
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
