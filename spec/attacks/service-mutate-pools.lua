-- Changes every table that it is lent: the next Service gets its own.
-- worker: use 10%.0%.0%.1
local function attack(service, cluster)
  for _, node in ipairs(cluster.nodes) do node.name, node.labels, node.addresses = "x", nil, nil end
  for _, other in ipairs(cluster.services({ label = { "app", "web" } })) do
    other.addresses[1], other.name, other.ports = "10.0.0.9", {}, nil
  end
  service.metadata.namespace, service.metadata.name, service.spec = "other", "held", nil
  setmetatable(service.metadata, { __index = function() while true do end end })
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
