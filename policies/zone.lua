-- zone: a Service's address lives on a node of the zone that the Service names; on another node only while no node of
-- that zone can serve it.
--
--   metadata:
--     labels:
--       topology.kubernetes.io/zone: west
--
-- `place` ranks nodes, best first. The first three names count; behind them come all other nodes, so a Service is never
-- without a node because of a policy. A live address is not moved by a new ranking.
local ZONE = "topology.kubernetes.io/zone"

local function place(group, nodes)
  local wanted = group.services[1].labels[ZONE]
  if not wanted then return {} end -- no wish: moonlb spreads such groups over all nodes
  local there = {}
  for _, node in ipairs(nodes) do
    if node.labels[ZONE] == wanted and not node.is_draining then there[#there + 1] = node end
  end
  -- The fewest Services first, so that the zone's nodes share the work.
  table.sort(there, function(a, b)
    if a.services ~= b.services then return a.services < b.services end
    return a.name < b.name
  end)
  return there
end

return {
  api = 1,
  name = "zone",
  rules = { rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool }, -- addresses: as the stock policy
  place = place,
  tests = {
    {
      name = "nodes of the zone",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" }, nodes = {
        { name = "n1", metadata = { labels = { ["topology.kubernetes.io/zone"] = "east" } } },
        { name = "n2", metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } } },
        { name = "n3", metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } } },
      } },
      service = { metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } } },
      expect = { addresses = { "10.0.0.1" }, place = { "n2", "n3" } },
    },
    {
      name = "the one with less to do first",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        services = { { name = "a", addresses = "10.0.0.9",
          metadata = { labels = {}, annotations = { ["kube-vip.io/vipHost"] = "n2" } } } },
        nodes = {
          { name = "n2", metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } } },
          { name = "n3", metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } } },
        } },
      service = { metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } } },
      expect = { place = { "n3", "n2" } },
    },
    {
      name = "a node that is being drained is left out",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" }, nodes = {
        { name = "n2", metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } },
          spec = { unschedulable = true } },
        { name = "n3", metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } } },
      } },
      service = { metadata = { labels = { ["topology.kubernetes.io/zone"] = "west" } } },
      expect = { place = { "n3" } },
    },
    {
      name = "without a wish there is no ranking",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" }, nodes = { { name = "n1" } } },
      expect = { place = {} },
    },
  },
}
