-- Tries to make the host remember every pool there could be.
-- worker: error %l+ .-%.lua:%d+ .* more than .*
local function attack(service, cluster)
  local i = 0
  while true do
    i = i + 1
    cluster.pool("10." .. i % 256 .. "." .. i // 256 % 256 .. ".0/24, 10.9.9." .. i % 256)
  end
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
