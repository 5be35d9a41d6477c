-- team-shared: all Services of a team live behind one address, told apart by their ports.
--
-- The team is a label. The first Service of a team takes a free address; each other Service shares it, as long as its
-- ports are not taken there. Sharing must be on in the ConfigMap for the pool that the address comes from:
-- `allow-share-global: "true"`, or `allow-share-<namespace>`.
local LABEL = "team"

-- Addresses that the team's Services have already, those of the oldest Service first.
local function addresses_of(team, cluster)
  local list = {}
  for _, other in ipairs(cluster.services({ label = { LABEL, team } })) do
    if #other.addresses > 0 then list[#list + 1] = other.addresses end
  end
  return list
end

function rule.team_shared(service, cluster)
  local team = service.metadata.labels[LABEL]
  if not team then return nil, "no label " .. LABEL end
  for _, addresses in ipairs(addresses_of(team, cluster)) do
    -- Not usable: a port is taken, or one of the two has externalTrafficPolicy Local.
    if cluster.usable(addresses) then return share(addresses) end
  end
  local pool = cluster.namespace_pool(service.metadata.namespace) or cluster.global_pool()
  if not pool then return nil, "no pool serves the namespace" end
  local address, why = pool:free()
  if not address then return refuse(why) end
  return use(address)
end

return {
  api = 1,
  name = "team-shared",
  rules = { rule.static, rule.dhcp, rule.team_shared, rule.namespace_pool, rule.global_pool },
  tests = {
    {
      name = "the first of a team takes a free address",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24", ["allow-share-global"] = "true" },
        services = { { name = "a", addresses = "10.0.0.1", metadata = { labels = { team = "red" } } } } },
      service = { metadata = { labels = { team = "blue" } }, ports = { 443 } },
      expect = { action = "assign", addresses = { "10.0.0.2" }, rule = "team_shared" },
    },
    {
      name = "the next shares it",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24", ["allow-share-global"] = "true" },
        services = { { name = "a", addresses = "10.0.0.7", ports = { 80 },
          metadata = { labels = { team = "blue" } } } } },
      service = { metadata = { labels = { team = "blue" } }, ports = { 443 } },
      expect = { action = "share", addresses = { "10.0.0.7" } },
    },
    {
      name = "a port that is taken needs another address",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24", ["allow-share-global"] = "true" },
        services = { { name = "a", addresses = "10.0.0.7", ports = { 80 },
          metadata = { labels = { team = "blue" } } } } },
      service = { metadata = { labels = { team = "blue" } }, ports = { 80 } },
      expect = { action = "assign", addresses = { "10.0.0.1" } },
    },
    {
      name = "where sharing is off each has its own",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        services = { { name = "a", addresses = "10.0.0.7", ports = { 80 },
          metadata = { labels = { team = "blue" } } } } },
      service = { metadata = { labels = { team = "blue" } }, ports = { 443 } },
      expect = { action = "assign", addresses = { "10.0.0.1" } },
    },
  },
}
