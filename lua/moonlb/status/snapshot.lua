--- What the status page shows, gathered from the daemon's live state: values, no markup. Work on many Services is done
-- in pieces. Nothing secret is among it: names, addresses, states and the messages of Events.
-- @module moonlb.status.snapshot
local index = require("moonlb.status.index")
local map = require("moonlb.status.map")
local runtime = require("moonlb.core.runtime")
local services = require("moonlb.status.services")

local snapshot = {}

local Source = { __name = "moonlb.status.snapshot" }
Source.__index = Source

--- Services on one page; pools that are drawn; nodes; Events.
snapshot.SERVICES, snapshot.POOLS, snapshot.NODES, snapshot.EVENTS = 100, 16, 100, 30

--- @tparam Daemon daemon  its parts may appear later
-- @tparam function pause  called often inside tasks; may yield
function snapshot.new(daemon, pause)
  local settled = {}
  daemon.services:on(function(key) settled[key] = nil end)
  return setmetatable({ daemon = daemon, pause = pause, index = index.new(daemon.services), settled = settled }, Source)
end

-- Boot time as seconds since 1970.
local function wall(boottime)
  return boottime and runtime.walltime() - (runtime.boottime() - boottime)
end

local function context_of(daemon)
  local vips, engine = {}, daemon.allocator and daemon.allocator.engine
  local list = daemon.announcer and daemon.announcer:list() or {}
  for _, it in ipairs(list) do vips[it.address] = it end
  local holder = daemon.allocator and daemon.allocator.election:holder()
  return { vips = vips, list = list, now = runtime.walltime(),
    leader = type(holder) == "string" and holder:match("^(.*)_%x+$") or nil,
    last_event = function(key) return daemon.events:about("Service", key) end,
    why_ignored = function(key)
      local record = engine and engine.state.services[key]
      return record and record.why_ignored
    end }
end

local function matches(row, query)
  local function has(value) return value and value:lower():find(query, 1, true) end
  if has(row.key) or has(row.owner) then return true end
  for _, item in ipairs(row.addresses) do
    if has(item) then return true end
  end
  return false
end

-- What needs a person comes first.
local ORDER = { "trouble", "waiting", "served", "ignored" }

-- A Service's state, and its row unless the state was known without. Served, or left alone, it is by its object alone:
-- most Services are looked at once, and again when they change.
local function state_of(self, key, object, view, context)
  local known = self.settled[key]
  if known and not view.query then return known end
  local row = services.describe(key, object, context)
  local is_settled = row.state == "served" or row.state == "ignored"
  if is_settled and not row.has_conflict then self.settled[key] = row.state end
  return row.state, row
end

-- All Services by state, and of these the keys of those that are looked for.
local function sort_out(self, view, context)
  local counts, keys = { all = 0 }, {}
  for _, state in ipairs(services.STATES) do counts[state], keys[state] = 0, {} end
  for _, key in ipairs(self.index:keys(self.pause)) do
    local object = self.daemon.services:get(key)
    if object then
      local state, row = state_of(self, key, object, view, context)
      counts.all, counts[state] = counts.all + 1, counts[state] + 1
      if (not view.state or view.state == state) and (not view.query or matches(row, view.query)) then
        table.insert(keys[state], key)
      end
    end
    self.pause()
  end
  return counts, keys
end

-- All Services counted by state, and the page that is asked for.
local function collect_services(self, view, context)
  local counts, keys = sort_out(self, view, context)
  local rows, found, first = {}, 0, (view.page - 1) * snapshot.SERVICES
  for _, state in ipairs(ORDER) do
    for i = math.max(1, first - found + 1), math.min(#keys[state], first - found + snapshot.SERVICES) do
      local object = self.daemon.services:get(keys[state][i])
      if object then rows[#rows + 1] = services.describe(keys[state][i], object, context) end
    end
    found = found + #keys[state]
  end
  return { counts = counts, rows = rows, found = found, first = first }
end

-- The fullest pools, in the order of their names.
local function choose(pools)
  if #pools <= snapshot.POOLS then return pools, 0 end
  local function share(pool)
    local most = 0
    for _, part in ipairs(pool.families) do most = math.max(most, part.used / math.max(1, part.size)) end
    return most
  end
  local shares = {}
  for _, pool in ipairs(pools) do shares[pool] = share(pool) end
  local chosen = table.move(pools, 1, #pools, 1, {})
  table.sort(chosen, function(a, b)
    if shares[a] ~= shares[b] then return shares[a] > shares[b] end
    return a.name < b.name
  end)
  for i = #chosen, snapshot.POOLS + 1, -1 do chosen[i] = nil end
  table.sort(chosen, function(a, b) return a.name < b.name end)
  return chosen, #pools - snapshot.POOLS
end

local function collect_pools(self)
  local allocator = self.daemon.allocator
  if not allocator then return {}, 0, { size = 0, used = 0 } end
  local ownership = allocator.engine.state.ownership
  local all, total = allocator.engine:pools(), { size = 0, used = 0 }
  for _, pool in ipairs(all) do
    for _, part in ipairs(pool.families) do
      if part.family == "IPv4" then total.size, total.used = total.size + part.size, total.used + part.used end
    end
  end
  local chosen, left_out = choose(all)
  local held = map.collect(ownership)
  local context = { ownership = ownership, pause = self.pause, is_served = function(record, item)
    local _, set = services.in_status(record.object)
    return set[item] or false
  end }
  for _, pool in ipairs(chosen) do
    if not pool.is_dhcp then pool.map = map.draw(pool, held, context) end
  end
  return chosen, left_out, total
end

-- This node's own line.
local function own_node(daemon, context)
  local announcer, count = daemon.announcer, 0
  for _, it in ipairs(context.list) do
    if it.state == "held" or it.state == "announcing" then count = count + 1 end
  end
  local says = "allocates alone"
  if daemon.settings.announce then
    says = daemon.announcer_error or (announcer and announcer.peers:trouble()) or nil
  end
  local muted = announcer and announcer.pulse:stats().muted
  if muted then says = "silent: its own process was not run in time" end
  return { name = daemon.settings.node_name, is_self = true, held = count, interfaces = {},
    state = says and says ~= "allocates alone" and "trouble" or "alive", says = says or "this node" }
end

local function add_peers(daemon, nodes, by_name)
  local announcer = daemon.announcer
  for link_index, peers in pairs(announcer and announcer.placement:peers() or {}) do
    local link = announcer.host.view.links[link_index]
    if link then table.insert(by_name[daemon.settings.node_name].interfaces, link.name) end
    for _, peer in ipairs(peers) do
      local node = by_name[peer.name]
      if not node then
        node = { name = peer.name, interfaces = {}, state = "silent" }
        by_name[peer.name], nodes[#nodes + 1] = node, node
      end
      table.insert(node.interfaces, link and link.name or tostring(link_index))
      node.mac = peer.mac
      if peer.is_alive then
        node.state = "alive"
        node.says = peer.gives_all and "gives its addresses to others" or "heard"
      elseif node.state ~= "alive" then
        node.says, node.heard_at = "not heard since", wall(peer.heard_at)
      end
    end
  end
end

-- This node, those that are heard, and those that the API knows.
local function collect_nodes(self, context)
  local daemon = self.daemon
  local own = own_node(daemon, context)
  local nodes, by_name = { own }, { [own.name] = own }
  add_peers(daemon, nodes, by_name)
  for _, it in ipairs(daemon.allocator and daemon.allocator.engine.state:list_nodes() or {}) do
    local node = by_name[it.name]
    if not node then
      node = { name = it.name, interfaces = {}, state = "unknown", says = "no heartbeat is heard" }
      by_name[it.name], nodes[#nodes + 1] = node, node
    end
    node.services, node.is_draining = it.services, it.is_draining
  end
  table.sort(nodes, function(a, b) return a.name < b.name end)
  local left_out = math.max(0, #nodes - snapshot.NODES)
  for i = #nodes, snapshot.NODES + 1, -1 do nodes[i] = nil end
  return nodes, left_out
end

--- What `services.describe` needs to know beside the Service.
function Source:context()
  return context_of(self.daemon)
end

--- This node, those that are heard, and those that the API knows.
-- @treturn table  array by name; and how many were left out
function Source:nodes()
  return collect_nodes(self, context_of(self.daemon))
end

--- Everything that a view shows. In a task, if `pause` yields.
-- @tparam table view  `query` (lower-case text or nil), `state` (of `services.STATES` or nil), `page` (from 1)
-- @treturn table  `services` (`{counts, rows, found, first}`), `pools` (of the engine, each with `map`),
-- `pools_left_out`, `total` (`{size, used}` of IPv4), `nodes`, `nodes_left_out`, `events`, and facts about the process
function Source:take(view)
  local daemon = self.daemon
  local context = context_of(daemon)
  local result = { services = collect_services(self, view, context), now = context.now, leader = context.leader,
    node = daemon.settings.node_name, version = runtime.version, started_at = wall(daemon.started_at),
    is_leading = daemon.allocator and daemon.allocator:leading() or false, allocates = daemon.settings.allocate,
    announces = daemon.settings.announce, held = 0, error = daemon.services.error, is_synced = daemon.services.synced }
  self.pause()
  result.pools, result.pools_left_out, result.total = collect_pools(self)
  result.nodes, result.nodes_left_out = collect_nodes(self, context)
  for _, node in ipairs(result.nodes) do
    if node.is_self then result.held = node.held end
  end
  result.events = daemon.events:latest(snapshot.EVENTS)
  return result
end

return snapshot
