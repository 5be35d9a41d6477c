-- Tries tests that a metatable makes up.
-- worker: use 10%.0%.0%.1
return { api = 1, rules = { rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool },
  tests = setmetatable({}, { __index = function() while true do end end, __pairs = function() while true do end end }) }
