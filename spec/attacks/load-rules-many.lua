-- Tries more rules than anybody needs.
-- worker: load .*rules: 100000 of them, at most 64
local rules = {}
for i = 1, 100000 do rules[i] = rule.static end
return { api = 1, rules = rules }
