-- Tries to overflow the C stack by __tostring.
-- worker: error error .*stack overflow.*
local function attack(service, cluster)
  local object
  object = setmetatable({}, { __tostring = function() return tostring(object) end })
  log(object)
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
