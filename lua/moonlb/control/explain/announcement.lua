--- What this node's announcer, or the Service itself, says of where its addresses are, as facts (see
-- moonlb.control.explain.facts).
-- @module moonlb.control.explain.announcement
local address = require("moonlb.core.address")
local conflict = require("moonlb.announcer.conflict")
local fields = require("moonlb.allocator.fields")
local groups = require("moonlb.announcer.groups")
local hash = require("moonlb.announcer.hash")
local heartbeat = require("moonlb.core.heartbeat")
local peers = require("moonlb.announcer.peers")
local placement = require("moonlb.announcer.placement")
local request = require("moonlb.announcer.request")
local status = require("moonlb.announcer.status")

local announcement = {}

local function annotations_of(object)
  local annotations = object and object.metadata.annotations
  return type(annotations) == "table" and annotations or {}
end

--- What the Service object itself says: `host`, `claim`, `ingress` (set of addresses), `conflicts` that still hold,
-- `leased`: the address that it has by DHCP.
function announcement.read(facts, service)
  local annotations = annotations_of(service)
  facts.host = annotations[status.HOST]
  facts.claim = annotations[status.CLAIM] and placement.parse_claim(annotations[status.CLAIM]) or nil
  facts.ingress = status.addresses(service)
  facts.conflicts = {}
  for _, entry in ipairs(conflict.parse(annotations[conflict.ANNOTATION])) do
    if entry.expires > facts.walltime then table.insert(facts.conflicts, entry) end
  end
  local wanted = request.of(service)
  if wanted and not facts.assigned then	-- by no allocator here
    facts.assigned = wanted.is_dhcp and { wanted.family == 6 and fields.DHCPV6 or fields.DHCP } or wanted.addresses
  end
  local leased = annotations[fields.LEASE] and annotations[fields.LEASE]:match("^%S+")
  local first = facts.assigned and facts.assigned[1]
  if leased and (first == fields.DHCP or first == fields.DHCPV6) then
    facts.leased, facts.assigned = leased, { leased }
  end
end

local function vips_of(announcer, addresses, now)
  local list = {}
  for _, ip in ipairs(addresses) do
    local it = announcer.vips[ip]
    list[#list + 1] = it and { address = ip, state = it.state, since = now - it.since, reason = it.reason,
      interface = it.interface and it.interface.name, failures = it.failures > 0 and it.failures or nil,
      is_retrying = it.is_retrying or nil }
  end
  return list
end

local function is_inside(ip, entry)
  return address.in_subnet(ip, address.mask(entry.address, entry.prefix), entry.prefix)
end

-- The first address that is answered for on an interface none of whose subnets it is in; nil when there is none.
local function off_segment(announcer, vips)
  local view = announcer.host.view
  for _, it in ipairs(vips) do
    local _, family = address.canonical(it.address)
    local subnets, is_known = {}, false
    for _, entry in ipairs(view.addresses) do
      local link = view.links[entry.index]
      if link and link.name == it.interface and entry.family == family and entry.scope ~= "link" then
        subnets[#subnets + 1] = ("%s/%d"):format(address.mask(entry.address, entry.prefix), entry.prefix)
        is_known = is_known or is_inside(it.address, entry)
      end
    end
    if (it.state == "announcing" or it.state == "held") and it.interface and not is_known then
      return { address = it.address, interface = it.interface, subnets = subnets }
    end
  end
  return nil
end

local function add_neighbours(facts, announcer, addresses)
  local wanted = {}
  for _, ip in ipairs(addresses) do wanted[ip] = true end
  facts.neighbours = {}
  for _, entry in ipairs(announcer.host.netlink.neighbours and announcer.host.netlink:neighbours() or {}) do
    if wanted[entry.address] then
      local link = announcer.host.view.links[entry.index]
      table.insert(facts.neighbours, { address = entry.address, mac = entry.mac, state = entry.state,
        interface = link and link.name })
    end
  end
end

-- Where the group stands among the nodes: owner, and each node with rank and why it does not qualify.
local function add_placement(facts, announcer, group, now)
  local described = announcer.placement:describe(group.id)
  if not described then return end
  facts.announcer.why = described.trouble or described.why
  local owner = described.claim
  facts.nodes = described.candidates
  for _, it in ipairs(facts.nodes) do
    it.heard = it.heard_at and it.heard_at > -math.huge and now - it.heard_at or nil
    it.heard_at = nil
    if owner and it.name == owner.node then
      facts.owner = { node = it.name, is_alive = it.is_alive, heard = it.heard }
    end
  end
  if not owner then return end
  facts.owner = facts.owner or { node = owner.node }
  if facts.nodes[1] and facts.owner.is_alive == nil then facts.owner.is_alive = false end
  facts.owner.term, facts.owner.is_here = owner.term, described.is_mine
  if owner.node == announcer.node and not described.is_mine then facts.owner = nil end
end

-- Down, or without carrier: the group cannot choose another interface for it.
local function link_trouble(announcer, group, key)
  for _, ip in ipairs(group.addresses) do
    local link, reason, event = announcer:find_interface(ip, { key })
    if not link and not event then return reason end
  end
  return nil
end

local function of_service(list, key)
  local found = {}
  for _, item in ipairs(list or {}) do
    if item.service == key then found[#found + 1] = item end
  end
  return found
end

-- Its lease, times as seconds since 1970; what never ends has none.
local function lease_of(announcer, key, offset)
  local lease = of_service(announcer:leases(), key)[1]
  for _, name in ipairs({ "since", "t1", "t2", "expires" }) do
    local at = lease and lease[name]
    if at then lease[name] = at < math.huge and at + offset or nil end
  end
  return lease
end

local function add_complaints(facts, announcer, key)
  facts.announcer.complaints = {}
  for _, it in pairs(announcer.complaints[key] or {}) do
    table.insert(facts.announcer.complaints, { reason = it.reason, message = it.message })
  end
  table.sort(facts.announcer.complaints, function(a, b) return a.message < b.message end)
end

--- Put what a running announcer knows into `facts`.
-- @tparam table facts  takes `announcer`, `owner`, `nodes`, `neighbours`, `lease`, `mappings`, `endpoints`
-- @tparam Announcer announcer
-- @tparam string key
-- @tparam number now  seconds of CLOCK_BOOTTIME
function announcement.add(facts, announcer, key, now)
  local muted = announcer.pulse.stats and announcer.pulse:stats().muted
  facts.announcer = { is_here = true, heartbeat = announcer.peers:trouble(), mute = muted or nil,
    is_drained = announcer.peers.is_drain or nil, status_failure = announcer.writer.failures[key], vips = {} }
  add_complaints(facts, announcer, key)
  facts.mappings = of_service(announcer:mappings(), key)
  facts.lease = lease_of(announcer, key, facts.walltime - now)
  local group = announcer.groups:of(key)
  if not group then return end
  local addresses = facts.leased and facts.assigned or announcer.requests[key].addresses
  facts.announcer.vips = vips_of(announcer, addresses, now)
  facts.announcer.off_segment = not facts.leased and off_segment(announcer, facts.announcer.vips) or nil
  facts.announcer.link_trouble = link_trouble(announcer, group, key)
  add_placement(facts, announcer, group, now)
  add_neighbours(facts, announcer, addresses)
  if announcer.slices.is_synced then
    local _, all = announcer.slices.index:count(key, announcer.node)
    facts.endpoints = { all = all, is_local = announcer.requests[key].is_local,
      nodes = announcer.slices.index:nodes_of(key) }
  end
end

--- Nodes of the API that no heartbeat came from: they are shown, too. Alone, this node listens to nobody.
-- @tparam table facts  its `nodes` are completed
-- @tparam Announcer announcer
-- @tparam table names  of all Nodes
function announcement.add_unheard(facts, announcer, names)
  if not facts.nodes or not announcer.peers.heartbeats then return end
  local seen = {}
  for _, it in ipairs(facts.nodes) do seen[it.name] = true end
  table.sort(names)
  for _, name in ipairs(names) do
    if not seen[name] then
      table.insert(facts.nodes, { name = name, is_unheard = true, is_alive = false, qualifies = false,
        why = "never heard here: no moonlb runs there, or its heartbeats do not arrive" })
    end
  end
end

local function is_ready(node)
  for _, it in ipairs(node.status and type(node.status.conditions) == "table" and node.status.conditions or {}) do
    if it.type == "Ready" then return it.status == "True" end
  end
  return nil
end

-- The group's id as the announcers see it.
local function group_of(key, services)
  local all = groups.new()
  for _, service in ipairs(services) do
    local wanted = request.of(service)
    local name = service.metadata.namespace .. "/" .. service.metadata.name
    all:set(name, wanted and { uid = service.metadata.uid or name,	-- of a file: it was never made
      created = service.metadata.creationTimestamp or "",
      addresses = wanted.addresses })
  end
  return all:of(key)
end

--- Put what can be told from the API alone into `facts`: no heartbeat is heard.
-- @tparam table facts  takes `nodes` (by rank) and `owner`
-- @tparam string key
-- @tparam table services  array of Services
-- @tparam table nodes  array of Nodes
function announcement.add_from_api(facts, key, services, nodes)
  local group = group_of(key, services)
  local group_hash = group and hash.text(heartbeat.id(group.id))
  facts.nodes = {}
  for i, node in ipairs(nodes) do
    local labels = type(node.metadata.labels) == "table" and node.metadata.labels or {}
    local is_drained = annotations_of(node)[peers.DRAIN] == "true" or labels[peers.EXCLUDED] ~= nil
    facts.nodes[i] = { name = node.metadata.name, is_drained = is_drained or nil, is_ready = is_ready(node),
      qualifies = not is_drained and is_ready(node) ~= false, why = is_drained and "drained or excluded" or nil,
      score = group_hash and hash.rank(group_hash, hash.text(node.metadata.name)) or 0 }
  end
  table.sort(facts.nodes, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.name < b.name
  end)
  for i, node in ipairs(facts.nodes) do node.rank, node.score = group and i or nil, nil end
  if not facts.claim then return end
  facts.owner = { node = facts.claim.node, term = facts.claim.term, is_here = false, is_known = false }
  for _, node in ipairs(facts.nodes) do
    if node.name == facts.claim.node then
      facts.owner.is_known, facts.owner.is_ready = node.is_ready ~= false, node.is_ready
    end
  end
  if not nodes[1] then facts.owner.is_known = nil end
end

return announcement
