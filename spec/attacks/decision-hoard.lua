-- Tries to keep a decision for another Service.
-- worker: use 10%.0%.0%.9
-- next: error error .* returned a table, not a decision
local kept

return { api = 1, rules = {
  function()
    kept = kept or use("10.0.0.9")
    return kept
  end,
} }
