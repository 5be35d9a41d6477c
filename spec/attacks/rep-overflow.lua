-- Tries an overflow in the length of a repetition.
-- worker: error error .-%.lua:%d+ .*string.rep would make more than.*
local function attack(service, cluster)
  return nil, ("x"):rep(math.maxinteger, "yy")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
