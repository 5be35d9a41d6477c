-- Gives a label that is text as long as it is checked, and after that a table whose metamethods raise.
-- worker: refuse 0 0
local function attack(service, cluster)
  local reads = 0
  local trap = setmetatable({}, { __eq = error, __index = error, __newindex = error, __tostring = error })
  local label = setmetatable({}, { __index = function()
    reads = reads + 1
    return reads <= 2 and "app" or trap
  end })
  local count = cluster.count({ label = label })
  reads = 0
  return refuse(count .. " " .. #cluster.services({ label = label }))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
