-- Tries to return a number as policy.
-- worker: load load%-number%.lua: a policy returns a table, not number
return 42
