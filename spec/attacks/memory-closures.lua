-- Tries to fill the memory by small objects.
-- worker: error %l+ .-%.lua:%d+ .* more than .*
local function attack(service, cluster)
  local last
  while true do
    local before = last
    last = function() return before end
  end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
