-- Waits for an answer from outside within the reading of options.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  local options = setmetatable({}, { __index = function()
    http.get("http://ipam.example/")
    return nil
  end })
  return use(cluster.global_pool():free(options))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
