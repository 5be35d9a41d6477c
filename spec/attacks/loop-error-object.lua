-- Tries to run for ever when the host looks at its error.
-- worker: error error .-%.lua:%d+ %(error object is a table%)
local function attack(service, cluster)
  error(setmetatable({}, { __tostring = function() while true do end end, __name = "x",
    __index = function() while true do end end, __concat = function() while true do end end }))
end

return { api = 1, rules = {
  function(service, cluster)
    if service.metadata.name == "a" then return attack(service, cluster) end
    return nil
  end,
  rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool,
} }
