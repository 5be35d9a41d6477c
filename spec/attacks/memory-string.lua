-- Tries to fill the memory by one string.
-- worker: error memory .-%.lua:%d+ used more than %d+ KiB of memory
local function attack(service, cluster)
  local text = "x"
  while true do text = text .. text end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
