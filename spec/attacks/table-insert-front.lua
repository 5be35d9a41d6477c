-- Tries quadratic time by inserting at the front.
-- worker: error %l+ .-%.lua:[1-9]%d* took more than .*
local function attack(service, cluster)
  local list = {}
  while true do table.insert(list, 1, 1) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
