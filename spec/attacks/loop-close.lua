-- Tries to run for ever in 1,000 nested __close.
-- worker: error budget .-%.lua:[1-9]%d* took more than 4000000 steps
local function attack(service, cluster)
  local slow = { __close = function() while true do end end }
  local function nest(n)
    local _ <close> = setmetatable({}, slow)
    if n > 0 then nest(n - 1) end
    error("now")
  end
  nest(150)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
