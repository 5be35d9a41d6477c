-- Tries tests that contain a function.
-- worker: load .*tests: the answer holds no plain value
return { api = 1, rules = { rule.static }, tests = { { name = "x", given = function() end } } }
