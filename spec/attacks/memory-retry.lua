-- Tries to go on at the edge: each failed allocation costs a collection.
-- worker: error %l+ .-%.lua:%d+ .* more than .*
local function attack(service, cluster)
  local kept = {}
  while true do pcall(function() kept[#kept + 1] = ("x"):rep(1000000) .. #kept end) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
