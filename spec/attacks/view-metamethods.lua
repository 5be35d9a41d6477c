-- Calculates with a pool, changes it and looks behind it.
-- worker: refuse 10 failures
local function attack(service, cluster)
  local pool, failures = cluster.global_pool(), 0
  for _, try in ipairs({
    function() return pool + 1 end,
    function() return pool < pool end,
    function() return pool() end,
    function() return pool .. "" end,
    function() pool.name = "x" end,
    function() rawset(pool, "name", "x") end,
    function() setmetatable(pool, {}) end,
    function() return getmetatable(pool).__index end,
    function() assert(next(pool)) end,
    function() for _ in pairs(pool) do return end error("nothing in it") end,
  }) do
    if not pcall(try) then failures = failures + 1 end
  end
  return refuse(failures .. " failures")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
