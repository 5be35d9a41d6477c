-- Tries rules that a metatable makes up.
-- worker: load .*rules: a list of functions expected
return setmetatable({ api = 1 }, { __index = function() while true do end end, __len = function() return 1e9 end })
