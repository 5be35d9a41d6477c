-- Tries to find more in the table of globals.
-- worker: refuse nil nil nil
local function attack(service, cluster)
  return refuse(tostring(_G) .. " " .. tostring(_ENV._G) .. " " .. tostring(_ENV.io))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
