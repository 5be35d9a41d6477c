-- Recurses in the arguments of a call to the API.
-- worker: error memory .-%.lua:%d+ used more than %d+ KiB of memory
local function attack(service, cluster)
  local function again() return (cluster.usable(again() or "10.0.0.9")) end
  return use(again() and "10.0.0.9" or "10.0.0.10")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
