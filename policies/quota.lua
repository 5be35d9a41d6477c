-- quota: no namespace has more than so many Services with an address.
--
-- Only new addresses are counted against it: a namespace that is above its quota when this policy comes keeps what it
-- has. An address that is asked for by hand counts as well, since the rule stands before rule.static.
local DEFAULT_QUOTA = 2
local QUOTAS = {
  ["kube-system"] = math.huge, -- no limit
  shop = 1,
}

function rule.quota(service, cluster)
  local namespace = service.metadata.namespace
  local quota, used = QUOTAS[namespace] or DEFAULT_QUOTA, cluster.count({ namespace = namespace })
  -- One that has an address already, and asks for another, is in the count itself.
  if service.metadata.annotations["moonlb.io/assigned"] then used = used - 1 end
  if used >= quota then
    return refuse(("namespace %s has %d of %d addresses"):format(namespace, used, quota))
  end
  return nil, ("%d of %s used"):format(used, quota)
end

return {
  api = 1,
  name = "quota",
  rules = { rule.quota, rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool },
  tests = {
    {
      name = "below the quota",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        services = { { name = "a", addresses = "10.0.0.1" } } },
      expect = { action = "assign", addresses = { "10.0.0.2" }, rule = "global_pool" },
    },
    {
      name = "at the quota",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        services = { { name = "a", addresses = "10.0.0.1" }, { name = "b", addresses = "10.0.0.2" } } },
      expect = { action = "pending", reason = "namespace default has 2 of 2 addresses", rule = "quota" },
    },
    {
      name = "a namespace of its own number",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        services = { { name = "a", namespace = "shop", addresses = "10.0.0.1" } } },
      service = { namespace = "shop" },
      expect = { action = "pending", reason = "namespace shop has 1 of 1 addresses" },
    },
    {
      name = "asking for another address needs no room for a second one",
      given = { services = { { name = "a", addresses = "10.0.0.1" } } },
      service = { metadata = { annotations = { ["moonlb.io/assigned"] = "10.0.0.2 quota/global_pool",
        ["kube-vip.io/loadbalancerIPs"] = "192.0.2.7" } } },
      expect = { action = "static", addresses = { "192.0.2.7" } },
    },
    {
      name = "what others have does not count",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        services = { { name = "a", namespace = "shop", addresses = "10.0.0.1" } } },
      expect = { action = "assign", addresses = { "10.0.0.2" } },
    },
  },
}
