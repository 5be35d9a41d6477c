-- Calls a pool from within the reading of the options of a call to it, sixty deep.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  local pool, depth, options = cluster.global_pool(), 0, nil
  options = setmetatable({}, { __index = function(_, name)
    depth = depth + 1
    if depth < 60 then pool:free(options) end
    return name == "n" and 16 or nil
  end })
  pool:free(options)
  return use(pool:free())
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
