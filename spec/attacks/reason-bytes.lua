-- Tries bytes that are no text.
-- worker: refuse %?%?%?
local function attack(service, cluster)
  return refuse("\255\254\128")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
