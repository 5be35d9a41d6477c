-- Tries work on long strings.
-- worker: error %l+ .-%.lua:[1-9]%d* took more than .*
local function attack(service, cluster)
  local text = ("x"):rep(1000000)
  while true do text = text:lower() end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
