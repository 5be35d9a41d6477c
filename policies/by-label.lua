-- by-label: the Service says by a label (or an annotation) which pool it wants, and gets an address from there only.
--
--   metadata:
--     labels:
--       example.com/pool: public
--
-- Change POOLS to your own names and addresses. A pool is written as in the ConfigMap: CIDR blocks, ranges, single
-- addresses, of either family.
local LABEL = "example.com/pool"
local POOLS = {
  public = "192.0.2.16/28",
  internal = "10.9.0.0/24, fd00:9::1-fd00:9::ff",
}

-- A label is the usual way; an annotation does where labels are somebody else's.
local function wanted_pool(service)
  return service.metadata.labels[LABEL] or service.metadata.annotations[LABEL]
end

function rule.by_label(service, cluster)
  local name = wanted_pool(service)
  if not name then return nil, "no label " .. LABEL end -- pass: the next rule is asked
  local text = POOLS[name]
  if not text then return refuse(("%s: %s is no pool"):format(LABEL, name)) end -- stay pending, and say why
  local address, why = cluster.pool(text):free()
  if not address then return refuse(why) end
  return use(address)
end

return {
  api = 1,
  name = "by-label",
  -- An address that the user asks for by hand still goes first, and who has no label is served as ever.
  rules = { rule.static, rule.dhcp, rule.by_label, rule.namespace_pool, rule.global_pool },
  tests = {
    {
      name = "a label picks the pool",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      service = { metadata = { labels = { ["example.com/pool"] = "public" } } },
      expect = { action = "assign", addresses = { "192.0.2.16" }, rule = "by_label" },
    },
    {
      name = "so does an annotation",
      service = { metadata = { annotations = { ["example.com/pool"] = "internal" } } },
      expect = { action = "assign", addresses = { "10.9.0.1" } },
    },
    {
      name = "dual stack takes one address of each family",
      service = { metadata = { labels = { ["example.com/pool"] = "internal" } },
        spec = { ipFamilyPolicy = "RequireDualStack" } },
      expect = { action = "assign", addresses = { "10.9.0.1", "fd00:9::1" } },
    },
    {
      name = "a name that is no pool keeps the Service pending",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      service = { metadata = { labels = { ["example.com/pool"] = "publik" } } },
      expect = { action = "pending", reason = "example.com/pool: publik is no pool" },
    },
    {
      name = "without the label the global pool serves",
      given = { configmap = { ["cidr-global"] = "10.0.0.0/24" } },
      expect = { action = "assign", addresses = { "10.0.0.1" }, rule = "global_pool" },
    },
  },
}
