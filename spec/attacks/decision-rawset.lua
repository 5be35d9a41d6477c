-- Tries to change a decision past its metamethods.
-- worker: error error .-%.lua:5 .*cannot change a table that is not yours
local function attack(service, cluster)
  local decision = use("10.0.0.9")
  rawset(decision, "kind", "dhcp")
  return decision
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
