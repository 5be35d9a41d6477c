-- Reads numbers of a million digits, again and again.
-- worker: error time .-%.lua:5 took more than 1500 ms of CPU time
local function attack(service, cluster)
  local digits = ("1"):rep(1 << 20)
  while true do local _ = tonumber(digits, 36) or tonumber(digits) end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
