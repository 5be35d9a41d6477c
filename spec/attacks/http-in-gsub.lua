-- Asks outside in a replacement, in a message handler and in __close, and catches the wait.
-- worker: use 10%.0%.0%.9
local function attack(service, cluster)
  local last <close> = setmetatable({}, { __close = function() http.get("http://ipam.example/close") end })
  local _ = ("abc"):gsub(".", function(letter) xpcall(http.get, http.get, "http://ipam.example/" .. letter) end)
  return use("10.0.0.9")
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
