-- Tries long walks over an emptied table.
-- worker: error %l+ .-%.lua:[1-9]%d* took more than .*
local function attack(service, cluster)
  local list = {}
  for i = 1, 100000 do list["k" .. i] = i end
  for key in pairs(list) do list[key] = nil end
  while true do next(list) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
