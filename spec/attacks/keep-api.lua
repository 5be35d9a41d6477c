-- Takes the API and the language from its own environment: those of the stock rules are theirs.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  use, refuse, share, dhcp, log, rule = nil
  string, table, math, pairs, ipairs, type, error, _G = nil
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
