-- Puts a rule of its own in the place of a stock rule: the name is its own, and so is the blame.
-- worker: use 10%.0%.0%.200 rejected 10%.0%.0%.200 is held by Service other/held
-- next: use 10%.0%.0%.200 rejected 10%.0%.0%.200 is held by Service other/held
function rule.static() return use("10.0.0.200") end

return { api = 1, rules = { rule.static } }
