-- Tries to answer http.get itself, through the table that pairs() walks.
-- worker: error error .-%.lua:5 .*cannot change 'get' of a table that is not yours
local function attack(service, cluster)
  local _, below = pairs(http)
  below.get = function() return { body = "10.0.0.9" } end
  return use(http.get("http://ipam.example/").body)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
