-- sticky: a Service that is deleted and made again under the same name gets the same address, if nobody took it
-- meanwhile. Nothing is remembered for that: the name itself says which address is preferred.
--
-- `prefer` takes an address, or any other text: then a hash of the text picks one address of the pool, always the same
-- while the pool stays the same. If that one is not free, the pool gives its lowest free address as ever.
function rule.sticky(service, cluster)
  local metadata = service.metadata
  local pool = cluster.namespace_pool(metadata.namespace) or cluster.global_pool()
  if not pool then return nil, "no pool serves the namespace" end
  if pool.is_dhcp then return dhcp() end
  local address, why = pool:free({ prefer = metadata.namespace .. "/" .. metadata.name })
  if not address then return refuse(why) end
  return use(address)
end

return {
  api = 1,
  name = "sticky",
  rules = { rule.static, rule.dhcp, rule.sticky },
  tests = {
    {
      name = "the name picks the address",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { action = "assign", addresses = { "10.0.0.88" }, rule = "sticky" },
    },
    {
      name = "whatever else is there, and in whatever order it came",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        services = { { name = "a", addresses = "10.0.0.1" }, { name = "b", addresses = "10.0.0.2" } } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { action = "assign", addresses = { "10.0.0.88" } },
    },
    {
      name = "another name, another address",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      service = { metadata = { namespace = "shop", name = "db" } },
      expect = { action = "assign", addresses = { "10.0.0.177" } },
    },
    {
      name = "taken meanwhile: the lowest free one",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        services = { { name = "a", addresses = "10.0.0.88" } } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { action = "assign", addresses = { "10.0.0.1" } },
    },
  },
}
