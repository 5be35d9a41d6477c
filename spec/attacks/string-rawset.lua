-- Tries to change the string library past its metatable.
-- worker: error error .-%.lua:%d+ .*cannot change a table that is not yours.*
local function attack(service, cluster)
  rawset(string, "format", attack)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
