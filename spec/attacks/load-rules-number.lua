-- Tries a rule that is no function.
-- worker: load .*rules%[2%] is a number, not a function
return { api = 1, rules = { rule.static, 42 } }
