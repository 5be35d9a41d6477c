-- Tries to make the host index every label there could be.
-- worker: error error .-%.lua:[1-9]%d* asks for more than 16 labels
local function attack(service, cluster)
  local i = 0
  while true do
    i = i + 1
    cluster.services({ label = { "l" .. i, "x" } })
  end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
