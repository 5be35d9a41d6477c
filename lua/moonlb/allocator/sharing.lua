--- Which addresses can be shared, and with whom: Services of one pool whose (protocol, port) sets are disjoint, all
-- with externalTrafficPolicy Cluster (design, section 4). Pure.
--
-- To find the lowest suitable address at the same cost with ten or ten thousand of them, each pool has the set of its
-- addresses that can be shared at all, and each set of ports that was ever asked about has the set of addresses where
-- one of them is taken.
-- @module moonlb.allocator.sharing
local address = require("moonlb.core.address")
local service = require("moonlb.allocator.service")

local sharing = {}

local Sharing = { __name = "moonlb.allocator.sharing" }
Sharing.__index = Sharing

-- Distinct sets of ports that are kept an eye on; beyond that all are forgotten and built anew when asked about.
local MAX_SIGNATURES = 128

--- The ports of a signature (see `service.port_signature`) as a set.
local function port_set(signature)
  local set = {}
  for port in signature:gmatch("[^,]+") do set[port] = true end
  return set
end

local function overlap(ports, signature)
  for port in signature:gmatch("[^,]+") do
    if ports[port] then return true end
  end
  return false
end

--- Whether the ports and traffic policies of two Services allow one address for both.
function sharing.is_compatible(a, b)
  return a.is_cluster_policy and b.is_cluster_policy and a.ports ~= "" and b.ports ~= ""
    and not overlap(port_set(a.ports), b.ports)
end

--- @tparam Ownership holders
-- @treturn Sharing
function sharing.new(holders)
  return setmetatable({ ownership = holders, pools = {}, entries = {}, busy = {}, signatures = 0,
    has_any = false }, Sharing)
end

--- Whether two Services may hold one address: compatible, of the same pool, and the pool allows it.
function Sharing:is_allowed(a, b)
  local config = self.config
  local pool = config:pool_of(a.namespace)
  return config:is_shared(pool) and config:pool_of(b.namespace) == pool and sharing.is_compatible(a, b)
end

-- The holders that count: those that have the address. One that only asks for it may be refused.
local function granted(holders, item)
  local result = {}
  for _, record in ipairs(holders) do
    if record.holds[item] > service.ASKED then result[#result + 1] = record end
  end
  return result
end

-- The pool in which an address can be shared and the ports taken there; nil when it cannot.
local function examine(self, item)
  local pool, ports
  for _, record in ipairs(granted(self.ownership:holders(item), item)) do
    local name = self.config:pool_of(record.namespace)
    if record.why_ignored or not record.is_cluster_policy or record.ports == "" or (pool and pool ~= name) then
      return nil
    end
    pool, ports = name, ports and ports .. "," .. record.ports or record.ports
  end
  if not pool or not self.pools[pool] or self.ownership:why_excluded(item) then return nil end
  for _, source in ipairs(self.config:namespace_sources(pool)) do
    if source.set:contains(item) then return pool, ports end
  end
  return nil
end

--- Look at an address again: its holders, their ports, or its exclusion changed.
function Sharing:refresh(item)
  if not self.has_any then return end
  local old = self.entries[item]
  local pool, ports = examine(self, item)
  if old and old.pool == pool and old.ports == ports then return end
  if old then
    self.pools[old.pool]:remove(item)
    for _, set in pairs(self.busy) do set.addresses:remove(item) end
  end
  self.entries[item] = pool and { pool = pool, ports = ports } or nil
  if not pool then return end
  self.pools[pool]:add(item)
  for _, set in pairs(self.busy) do
    if overlap(set.ports, ports) then set.addresses:add(item) end
  end
end

--- Begin anew under a configuration: O(addresses held) where a pool allows sharing, else nothing.
function Sharing:configure(config)
  self.config, self.pools, self.entries, self.busy, self.signatures = config, {}, {}, {}, 0
  self.has_any = false
  for _, pool in ipairs(config:pool_names()) do
    if config:is_shared(pool) then
      self.pools[pool], self.has_any = address.set(), true
    end
  end
  if not self.has_any then return end
  for item in pairs(self.ownership.holder) do self:refresh(item) end
  for item in pairs(self.ownership.many) do self:refresh(item) end
end

local function busy_with(self, signature)
  local known = self.busy[signature]
  if known then return known.addresses end
  if self.signatures >= MAX_SIGNATURES then self.busy, self.signatures = {}, 0 end
  local set = { ports = port_set(signature), addresses = address.set() }
  for item, entry in pairs(self.entries) do
    if overlap(set.ports, entry.ports) then set.addresses:add(item) end
  end
  self.busy[signature], self.signatures = set, self.signatures + 1
  return set.addresses
end

--- The lowest address of a pool that a Service could share.
-- @tparam string pool  a namespace or `global`
-- @tparam number family  4 or 6
-- @tparam table record  of the Service
-- @treturn string|nil
function Sharing:find(pool, family, record)
  local candidates = self.pools[pool]
  if not candidates or record.ports == "" or not record.is_cluster_policy
    or self.config:pool_of(record.namespace) ~= pool or candidates:is_empty(family) then
    return nil
  end
  return candidates:free(busy_with(self, record.ports), family)
end

return sharing
