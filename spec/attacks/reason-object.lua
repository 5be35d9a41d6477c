-- Tries a reason with a __tostring.
-- worker: error error .*text expected, got table.*
local function attack(service, cluster)
  return refuse(setmetatable({}, { __tostring = function() return "x" end }))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
