-- Calls the API where the memory is all but used up, and catches the error.
-- worker: error memory .-%.lua:%d+ used more than %d+ KiB of memory
local function attack(service, cluster)
  local pool, held, size = cluster.global_pool(), {}, 1 << 18
  while size >= 64 do
    if not pcall(function() held = { held, ("x"):rep(size) } end) then size = size // 8 end
  end
  pcall(pool.free, pool, { n = 16 })
  held = nil
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
