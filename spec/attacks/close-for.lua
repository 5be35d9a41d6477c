-- Tries to outlive the limit in the closing value of a loop.
-- worker: error budget .-%.lua:4 took more than 4000000 steps
local function attack(service, cluster)
  local endless = setmetatable({}, { __close = function() while true do end end })
  for _ in pairs, {}, nil, endless do break end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
