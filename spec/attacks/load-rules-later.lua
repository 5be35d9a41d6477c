-- Changes its list of rules after it was loaded.
-- worker: use 10%.0%.0%.1
local rules = { true, rule.global_pool }
rules[1] = function()
  for i = 2, 60 do rules[i] = function() return use("10.0.0.200") end end
end

return { api = 1, rules = rules }
