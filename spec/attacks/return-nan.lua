-- Tries to return a number that is no key.
-- worker: error error .* returned a number, not a decision
local function attack(service, cluster)
  return 0 / 0
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
