-- The stock policy: how moonlb picks an address when nobody says otherwise. It is written over the same API that
-- every other
-- policy has, and its four rules are there for other policies to list: rule.static, rule.dhcp, rule.namespace_pool,
-- rule.global_pool.
--
-- A rule returns a decision (use, share, dhcp or refuse), which ends the matter; or nil and a reason, and the next
-- one is asked.

-- A Service that asks for "0.0.0.0" (or "::") wants its address from the LAN's DHCP server.
local function asks_for_dhcp(addresses)
  for _, address in ipairs(addresses) do
    if address == "0.0.0.0" or address == "::" then return true end
  end
  return false
end

-- 1. The user asks for an address, in annotation kube-vip.io/loadbalancerIPs or in spec.loadBalancerIP. It is
-- honoured even outside
-- every pool; never when another Service holds it (unless both may share it) or a family does not fit.
function rule.static(_, cluster)
  local wanted, problem = cluster.requested()
  if problem then return refuse(problem) end
  if not wanted then return nil, "no address is asked for" end
  if asks_for_dhcp(wanted) then return nil, "DHCP is asked for" end
  local ok, why = cluster.usable(wanted)
  if not ok then return refuse(why) end
  return use(wanted)
end

-- 2. The user asks for DHCP. No address is taken from a pool.
function rule.dhcp(_, cluster)
  local wanted = cluster.requested()
  if not wanted or not asks_for_dhcp(wanted) then return nil, "DHCP is not asked for" end
  if #wanted > 1 then return refuse("DHCP and fixed addresses cannot be asked for together") end
  return dhcp()
end

-- A pool that is exactly 0.0.0.0/32 means DHCP. Where allow-share-* is set, an address that others hold already goes
-- before a free one.
local function from_pool(pool)
  if pool.is_dhcp then return dhcp() end
  local address, why = pool:free({ share = true })
  if address then return use(address) end
  return nil, why
end

-- 3. The namespace's own pool: cidr-<namespace>, and when that is full range-<namespace>. Either key, even an empty
-- one, keeps the
-- namespace away from the global pool.
function rule.namespace_pool(service, cluster)
  local pool = cluster.namespace_pool(service.metadata.namespace)
  if not pool then return nil, "the namespace has no pool of its own" end
  local decision, why = from_pool(pool)
  return decision or refuse(why)
end

-- 4. The global pool: cidr-global, and when that is full range-global.
function rule.global_pool(_, cluster)
  local pool = cluster.global_pool()
  if not pool then return nil, "there is no global pool" end
  return from_pool(pool)
end

return {
  api = 1,
  name = "default",
  rules = { rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool },
  tests = {
    {
      name = "the lowest free address of the global pool",
      given = { configmap = { ["cidr-global"] = "10.0.0.8/29" },
        services = { { name = "a", addresses = "10.0.0.8" } } },
      expect = { action = "assign", addresses = { "10.0.0.9" }, rule = "global_pool" },
    },
    {
      name = "a namespace's own pool goes first",
      given = { configmap = { ["cidr-global"] = "10.0.0.8/29", ["range-shop"] = "10.1.0.1-10.1.0.9" } },
      service = { metadata = { namespace = "shop" } },
      expect = { action = "assign", addresses = { "10.1.0.1" }, rule = "namespace_pool" },
    },
    {
      name = "an empty key keeps a namespace away from the global pool",
      given = { configmap = { ["cidr-global"] = "10.0.0.8/29", ["cidr-shop"] = "" } },
      service = { metadata = { namespace = "shop" } },
      expect = { action = "pending" },
    },
    {
      name = "an address outside every pool, because it is asked for",
      service = { spec = { loadBalancerIP = "192.0.2.1" } },
      expect = { action = "static", addresses = { "192.0.2.1" }, rule = "static" },
    },
    {
      name = "never another's address",
      given = { services = { { name = "a", addresses = "192.0.2.1" } } },
      service = { spec = { loadBalancerIP = "192.0.2.1" } },
      expect = { action = "pending" },
    },
    {
      name = "0.0.0.0 means DHCP",
      service = { metadata = { annotations = { ["kube-vip.io/loadbalancerIPs"] = "0.0.0.0" } } },
      expect = { action = "dhcp", addresses = { "0.0.0.0" }, rule = "dhcp" },
    },
  },
}
