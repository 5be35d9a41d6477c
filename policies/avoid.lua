-- avoid: addresses stay off nodes that carry a label or a taint, as long as other nodes can serve them.
--
-- Only the first three names of a ranking count, and behind them come all nodes: with one or two good nodes left, the
-- avoided ones are the last resort. To forbid a node for good, give it Kubernetes' own label
-- node.kubernetes.io/exclude-from-external-load-balancers: that is no policy's matter.
local LABEL = "example.com/no-vips" -- whatever its value
local TAINTS = {
  ["node-role.kubernetes.io/control-plane"] = true,
  ["example.com/batch"] = true,
}

local function is_avoided(node)
  if node.labels[LABEL] then return true end
  for _, taint in ipairs(node.taints) do
    if TAINTS[taint.key] then return true end
  end
  return false
end

-- Which of the good nodes serves which address shall differ from group to group, and stay the same for one group: so
-- the list begins at a place that its name picks.
local function rotated(list, text)
  local sum, result = 0, {}
  for i = 1, #text do sum = (sum * 31 + text:byte(i)) % 65521 end
  for i = 1, #list do result[i] = list[(sum + i - 1) % #list + 1] end
  return result
end

local function place(group, nodes)
  local good = {}
  for _, node in ipairs(nodes) do
    if not is_avoided(node) and not node.is_draining then good[#good + 1] = node end
  end
  local first = group.services[1]
  return rotated(good, first.namespace .. "/" .. first.name)
end

return {
  api = 1,
  name = "avoid",
  rules = { rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool }, -- addresses: as the stock policy
  place = place,
  tests = {
    {
      name = "not a node with the label",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        nodes = { { name = "n1", metadata = { labels = { ["example.com/no-vips"] = "" } } }, { name = "n2" } } },
      expect = { addresses = { "10.0.0.1" }, place = { "n2" } },
    },
    {
      name = "not a node with the taint",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" }, nodes = {
        { name = "n1", spec = { taints = { { key = "example.com/batch", effect = "NoSchedule" } } } },
        { name = "n2" } } },
      expect = { place = { "n2" } },
    },
    {
      name = "only bad nodes: no ranking, and any of them serves",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        nodes = { { name = "n1", metadata = { labels = { ["example.com/no-vips"] = "true" } } } } },
      expect = { action = "assign", place = {} },
    },
    {
      name = "the good ones in an order of the group's own",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" },
        nodes = { { name = "n1" }, { name = "n2" }, { name = "n3" } } },
      service = { metadata = { namespace = "shop", name = "web" } },
      expect = { place = { "n3", "n1", "n2" } },
    },
  },
}
