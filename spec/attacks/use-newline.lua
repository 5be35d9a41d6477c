-- Tries to break a line of the log by an address.
-- worker: use .* rejected .*
local function attack(service, cluster)
  return use("10.0.0.9\nlevel=error")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
