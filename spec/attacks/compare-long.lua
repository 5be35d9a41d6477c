-- Tries comparisons of long strings, which the hook cannot interrupt.
-- worker: error %l+ .-%.lua:[1-9]%d* took more than .*
-- local: error %l+ .-%.lua:[1-9]%d* took more than .*
local function attack(service, cluster)
  local a, b = ("x"):rep(1000000) .. "a", ("x"):rep(1000000) .. "b"
  while true do if a < b and b > a and a <= b then a = a end end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
