-- Tries to overflow the C stack by gsub within gsub.
-- worker: error error .-%.lua:%d+ .*stack overflow.*
local function attack(service, cluster)
  local function deeper() return (("x"):gsub("x", deeper)) end
  return deeper()
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
