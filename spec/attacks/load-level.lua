-- Tries an unknown level of the API.
-- worker: load load%-level%.lua: api = 99: this moonlb has the policy API of level 1
return { api = 99, rules = { rule.static } }
