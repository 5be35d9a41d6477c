-- Tries to put a function of its own in the place of string.format.
-- worker: error error .-%.lua:%d+ .*cannot change .format. of a table that is not yours.*
local function attack(service, cluster)
  string.format = function() return "10.0.0.9" end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
