-- Tries a place that is no function.
-- worker: load .*place is no function
return { api = 1, rules = { rule.static }, place = {} }
