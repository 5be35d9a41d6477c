-- Tries to return a table that looks like a decision.
-- worker: error error .* returned a table, not a decision
local function attack(service, cluster)
  return { kind = "use", addresses = { "10.0.0.9" } }
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
