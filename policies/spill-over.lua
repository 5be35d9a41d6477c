-- spill-over: a namespace uses its own pool first, and when that is full it goes on in the global pool.
--
-- The stock policy does not do this: there, a namespace with a pool of its own never takes from the global one.
function rule.spill_over(service, cluster)
  local own = cluster.namespace_pool(service.metadata.namespace)
  if not own then return nil, "the namespace has no pool of its own" end
  local address, why = own:free({ share = true })
  if address then return use(address) end
  -- A pass, not a refusal: the reason goes to the trace, and the next rule (the global pool) is asked.
  return nil, why
end

return {
  api = 1,
  name = "spill-over",
  rules = { rule.static, rule.dhcp, rule.spill_over, rule.global_pool },
  tests = {
    {
      name = "the namespace's pool goes first",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24", ["range-shop"] = "10.1.0.1-10.1.0.1" } },
      service = { namespace = "shop" },
      expect = { action = "assign", addresses = { "10.1.0.1" }, rule = "spill_over" },
    },
    {
      name = "when it is full the global pool serves",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24", ["range-shop"] = "10.1.0.1-10.1.0.1" },
        services = { { name = "a", namespace = "shop", addresses = "10.1.0.1" } } },
      service = { namespace = "shop" },
      expect = { action = "assign", addresses = { "10.0.0.1" }, rule = "global_pool" },
    },
    {
      name = "both full: pending, and both are named",
      given = { configmap = { ["range-global"] = "10.0.0.1-10.0.0.1", ["range-shop"] = "10.1.0.1-10.1.0.1" },
        services = { { name = "a", namespace = "shop", addresses = "10.1.0.1" },
          { name = "b", addresses = "10.0.0.1" } } },
      service = { namespace = "shop" },
      expect = { action = "pending" },
    },
    {
      name = "a namespace without a pool uses the global one",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      expect = { action = "assign", addresses = { "10.0.0.1" }, rule = "global_pool" },
    },
  },
}
