-- Keeps more memory than there is, in a global that outlives the call.
-- worker: error memory .-%.lua:%d+ used more than %d+ KiB of memory
local function attack(service, cluster)
  kept = {}
  for i = 1, 40 do kept[i] = ("x"):rep(1 << 19) .. i end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
