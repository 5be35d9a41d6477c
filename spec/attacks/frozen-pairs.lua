-- Tries to get the table below a frozen library from pairs(), which gives its iterator the table to walk.
-- worker: error error .-%.lua:5 .*cannot change 'upper' of a table that is not yours
local function attack(service, cluster)
  local _, below = pairs(string)
  below.upper = function() return "10.0.0.9" end
  return use(("x"):upper())
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
