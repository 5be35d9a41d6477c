-- Tries a chain of a million metatables.
-- worker: error error .*
local function attack(service, cluster)
  local object = {}
  for _ = 1, 100000 do object = setmetatable({}, { __index = object }) end
  return use(object.x)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
