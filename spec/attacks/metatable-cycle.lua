-- Tries a metatable that is its own __index.
-- worker: error error .*'__index' chain too long.*
local function attack(service, cluster)
  local object = {}
  setmetatable(object, object).__index = object
  return use(object.x)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
