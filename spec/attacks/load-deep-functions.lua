-- Functions in functions, deeper than the compiler goes.
-- worker: load load%-deep%-functions%.lua: C stack overflow
local innermost =
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return
function() return function() return function() return function() return function() return function() return 1
end end end end end end end end end end end end end end end end end end end end end end end end end end end end end end
end end end end end end end end end end end end end end end end end end end end end end end end end end end end end end
end end end end end end end end end end end end end end end end end end end end end end end end end end end end end end
end end end end end end end end end end end end end end end end end end end end end end end end end end end end end end
end end end end end end end end end end end end end end end end end end end end end end end end end end end end end end
end end end end end end end end end end end end end end end end end end end end end end end end end end end end end end
end end end end end end end end end end end end end end end end end end end end end end end end end end end end end end
end end end end end end end end end end end end end end end end end end end end end end end end end end end end end end

return { api = 1, rules = { rule.global_pool } }
