-- Tries to learn where things lie in memory, by what string.format makes a text of.
-- worker: refuse |     table|func|%%function|own|nil|7
local function attack(service, cluster)
  local own = setmetatable({}, { __tostring = function() return "own" end, __name = "named" })
  local named = setmetatable({}, { __name = "named" })
  local text = ("|%10s|%.4s|%%%s|%s|%s|%d"):format(named, attack, use, own, nil, 7)
  if pcall(string.format, "%q", {}) or pcall(string.format, "%s") then error("that has no text") end
  return refuse(text)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
