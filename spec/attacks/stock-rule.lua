-- Tries to put a rule of its own into the stock policy of everybody.
-- worker: error error .-%.lua:%d+ .*attempt to index.*
local function attack(service, cluster)
  getmetatable(rule).__index.static = attack
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
