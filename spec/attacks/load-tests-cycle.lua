-- Tries tests that contain themselves.
-- worker: load .*tests: the answer holds no plain value
local tests = {}
tests[1] = tests
return { api = 1, rules = { rule.static }, tests = tests }
