-- Tries to raise a function.
-- worker: error error .-%.lua:%d+ %(error object is a function%)
local function attack(service, cluster)
  error(function() end)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
