-- Tries tests that fill every message.
-- worker: load .*tests: the answer is too long
return { api = 1, rules = { rule.static }, tests = { { name = ("x"):rep(400000) } } }
