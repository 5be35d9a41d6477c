-- Calls the API where the C stack is all but used up, and catches the overflow.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  local function below(depth, call)
    if depth == 0 then return call() end
    return (pcall(below, depth - 1, call))
  end
  for depth = 150, 200 do
    below(depth, function() return cluster.pool("10.1." .. depth .. ".0/24"):free({ n = 4 }) end)
    below(depth, function() return cluster.global_pool():free({ n = 4 }) end)
    below(depth, function() return cluster.count({ label = { "label-" .. depth, "x" } }) end)
    below(depth, function() return #cluster.nodes end)
    below(depth, function() return use("10.0.0.9") end)
  end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
