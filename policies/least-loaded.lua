-- least-loaded: a new address goes to the node with the fewest Services.
--
-- A ranking that changed with every Service would be written to every Service. So a group keeps its node as long as
-- that is not clearly worse than the best: SLACK more Services.
local SLACK = 5

local function place(group, nodes)
  local candidates = {}
  for _, node in ipairs(nodes) do
    if not node.is_draining then candidates[#candidates + 1] = node end
  end
  -- group.place is the ranking that the group has now; empty for a new one.
  local home = group.place[1]
  local function load_of(node)
    return node.name == home and node.services - 1 - SLACK or node.services
  end
  table.sort(candidates, function(a, b)
    local load_a, load_b = load_of(a), load_of(b)
    if load_a ~= load_b then return load_a < load_b end
    return a.name < b.name -- equal load: always the same order, or the sort has none
  end)
  return candidates
end

return {
  api = 1,
  name = "least-loaded",
  rules = { rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool }, -- addresses: as the stock policy
  place = place,
  tests = {
    {
      name = "the node with the fewest Services first",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" }, nodes = { { name = "n1" }, { name = "n2" } },
        services = { { name = "a", addresses = "10.0.0.9",
          metadata = { annotations = { ["kube-vip.io/vipHost"] = "n1" } } } } },
      expect = { addresses = { "10.0.0.1" }, place = { "n2", "n1" } },
    },
    {
      name = "one that is only meant for a node counts as well",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" }, nodes = { { name = "n1" }, { name = "n2" } },
        services = { { name = "a", addresses = "10.0.0.9",
          metadata = { annotations = { ["moonlb.io/place"] = "n1,n2" } } } } },
      expect = { place = { "n2", "n1" } },
    },
    {
      name = "equal: by name",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        nodes = { { name = "n4" }, { name = "n3" }, { name = "n2" }, { name = "n1" } } },
      expect = { place = { "n1", "n2", "n3" } },
    },
    {
      name = "what has a node stays on it",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" }, nodes = { { name = "n1" }, { name = "n2" } } },
      service = { addresses = "10.0.0.9", metadata = { annotations = { ["moonlb.io/place"] = "n2,n1" } } },
      expect = { place = { "n2", "n1" } },
    },
  },
}
