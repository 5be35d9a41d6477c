-- Tries to leave the memory full for the next decision.
-- worker: error %l+ .-%.lua:%d+ .* more than .*
local function attack(service, cluster)
  hoard = {}
  for i = 1, 1e9 do hoard[i] = { i } end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
