-- Tries to fill the memory by one table.
-- worker: error memory .-%.lua:%d+ used more than %d+ KiB of memory
local function attack(service, cluster)
  local list = {}
  for i = 1, 1e9 do list[i] = i end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
