--- /metrics: what each part of the daemon counts, by name. A part that is not there has no lines.
-- @module moonlb.daemon.metrics
local async = require("moonlb.async")
local exposition = require("moonlb.daemon.exposition")
local runtime = require("moonlb.core.runtime")

local metrics = {}

local function process(page, daemon, server)
  local memory = runtime.memory()
  page:family("build_info", "gauge", "1, with what the program is as labels",
    { { 1, { version = runtime.version, lua = _VERSION:match("[%d.]+") } } })
  page:family("uptime_seconds", "gauge", "time since the start", runtime.boottime() - daemon.started_at)
  page:family("resident_memory_bytes", "gauge", "memory of the process in RAM", memory.rss)
  page:family("anonymous_memory_bytes", "gauge", "the part of it that is no file", memory.anonymous)
  page:family("lua_memory_bytes", "gauge", "the part of it that Lua holds", collectgarbage("count") * 1024)
  page:family("loop_lag_seconds", "gauge", "lateness of the event loop at the last look", server.lag)
  page:family("loop_lag_worst_seconds", "gauge", "the worst of them since the start", server.worst_lag)
  local long, longest = runtime.long_callbacks()
  page:family("long_callbacks_total", "counter", "callbacks that held the event loop for over 20 ms", long)
  page:family("longest_callback_seconds", "gauge", "the longest of all callbacks since the start", longest)
  page:family("callback_errors_total", "counter", "errors caught at the boundary of callbacks and tasks",
    runtime.callback_errors() + async.failures)
end

-- Every collection that is followed.
local function informers(daemon)
  local allocator, announcer = daemon.allocator, daemon.announcer
  local peers = announcer and announcer.peers
  return { daemon.services, daemon.announced ~= daemon.services and daemon.announced or false,
    allocator and allocator.configmaps or false, allocator and allocator.nodes or false, peers and peers.nodes or false,
    peers and peers.heartbeats and peers.heartbeats.secrets or false,
    announcer and announcer.slices.informer or false }
end

local function api(page, daemon)
  local stats, samples = daemon.connection.core:stats(), {}
  for what, count in pairs(stats.by) do
    local verb, code = what:match("^(%S+) (%S+)$")
    samples[#samples + 1] = { count, { verb = verb, code = code } }
  end
  page:family("api_requests_total", "counter", "requests to the API server by verb and HTTP status", samples)
  page:family("api_requests_in_flight", "gauge", "requests under way", stats.in_flight)
  page:family("api_requests_queued", "gauge", "requests that wait for their turn", stats.queued)
  local restarts, synced = {}, {}
  for _, it in ipairs(informers(daemon)) do
    if it then
      restarts[it.name] = (restarts[it.name] or 0) + it.restarts
      synced[it.name] = it.synced and not it.error and 1 or 0
    end
  end
  page:counted("watch_restarts_total", "counter", "watches that ended and were begun again", "resource", restarts)
  page:counted("watch_up", "gauge", "1 while a collection of the API is known and followed", "resource", synced)
  page:family("services", "gauge", "Services known, of any type", daemon.services.count)
end

local function events(page, self)
  local samples = {}
  for what, count in pairs(self.counts) do
    local type, reason = what:match("^(%S+) (.+)$")
    samples[#samples + 1] = { count, { type = type, reason = reason } }
  end
  page:family("events_total", "counter", "Events said of objects, repetitions too", samples)
  page:family("clock_skew_seconds", "gauge", "this node's clock less the API server's, when an Event was last made",
    self.skew or 0)
  page:family("events_dropped_total", "counter", "Events lost to their limits", self.dropped)
end

local function queues(page, daemon)
  local all = { allocator = daemon.allocator, status = daemon.announcer }
  local depth, done, failed, waits = {}, {}, {}, {}
  for name, owner in pairs(all) do
    local stats = owner.queue:stats()
    depth[name], done[name], failed[name], waits[name] = stats.depth, stats.done, stats.failed, stats.waits
  end
  page:counted("queue_depth", "gauge", "keys that wait to be reconciled", "queue", depth)
  page:counted("queue_done_total", "counter", "keys reconciled", "queue", done)
  page:counted("queue_failed_total", "counter", "of them, failures that come again", "queue", failed)
  page:histograms("queue_wait_seconds", "time that keys waited to be reconciled", "queue", waits)
end

local function allocator(page, self)
  if not self then return end
  page:family("leader", "gauge", "1 on the process that allocates", self:leading() and 1 or 0)
  page:counted("decisions_written_total", "counter", "decisions carried out, by what was decided", "action",
    self.counts)
  page:counted("refusals_total", "counter", "Services told why they get no address, by the Event's reason", "reason",
    self.refusals)
  local size, used, free = {}, {}, {}
  for _, pool in ipairs(self.engine:pools()) do
    for _, part in ipairs(pool.families or {}) do
      local labels = { pool = pool.name, family = part.family:lower() }
      table.insert(size, { part.size, labels })
      table.insert(used, { part.used, labels })
      table.insert(free, { part.size - part.used, labels })
    end
  end
  page:family("pool_addresses", "gauge", "addresses in a pool", size)
  page:family("pool_addresses_used", "gauge", "of them, not free", used)
  page:family("pool_addresses_free", "gauge", "of them, free", free)
end

local function policies(page, daemon)
  if not daemon.policies then return end
  local host, loaded, benched = daemon.host, {}, {}
  for _, it in ipairs(daemon.policies:list()) do loaded[it.name] = it.is_loaded and not it.error and 1 or 0 end
  for name in pairs(host.failures) do benched[name] = host:benched(name) and 1 or 0 end
  page:counted("policy_up_to_date", "gauge", "1 when the mounted file is in use, 0 when it was refused", "policy",
    loaded)
  page:histograms("policy_decision_seconds", "time that a policy took for a decision, its turn in the worker included",
    "policy", host.durations)
  page:counted("policy_failures_total", "counter", "decisions and rankings at which a policy failed", "policy",
    host.failures)
  page:counted("policy_benched", "gauge", "1 while a policy is not asked, because it failed again and again", "policy",
    benched)
end

local STATES = { "wanted", "probing", "announcing", "held", "conflict", "releasing" }

local function vips(page, self)
  local by_state = {}
  for _, state in ipairs(STATES) do by_state[state] = 0 end
  for _, it in ipairs(self:list()) do by_state[it.state] = (by_state[it.state] or 0) + 1 end
  page:counted("vips", "gauge", "addresses on this node by state", "state", by_state)
  page:counted("vip_changes_total", "counter", "changes of an address's state, by the new one", "state", self.changes)
  page:family("failovers_total", "counter", "addresses that this node took over from another one", self.failovers)
  page:counted("probes_total", "counter", "probes of addresses before their first use, by what they found", "result",
    self.probes)
end

local function heartbeats(page, self, pulse)
  local alive, verdicts = 0, {}
  for _, peers in pairs(self.placement:peers()) do
    for _, peer in ipairs(peers) do alive = alive + (peer.is_alive and 1 or 0) end
  end
  for _, verdict in ipairs({ "heard", "foreign", "bad", "forged", "replayed", "unproven", "own" }) do
    verdicts[verdict] = pulse["heartbeats_" .. verdict]
  end
  page:family("peers", "gauge", "other nodes that are heard, on each interface", alive)
  page:counted("heartbeats_total", "counter", "heartbeats that arrived, by what became of them", "verdict", verdicts)
end

local function announcer(page, self)
  if not self then return end
  vips(page, self)
  local pulse, sent = self.pulse:stats(), self.wire.sent
  page:family("requests_heard_total", "counter", "ARP requests and neighbour solicitations for held addresses",
    pulse.requests)
  page:family("requests_answered_total", "counter", "of them, answered", pulse.answered)
  page:counted("frames_sent_total", "counter", "frames sent, by what for", "kind", { answer = pulse.answered,
    announcement = sent.announcement, probe = sent.probe, heartbeat = pulse.heartbeats_sent })
  heartbeats(page, self, pulse)
  page:family("pulse_muted", "gauge", "1 while the thread that answers is silent, because it or the loop was not run",
    pulse.muted and 1 or 0)
  page:family("rival_writes_total", "counter", "times that another announcer wrote what this node writes of a Service",
    self.rivals.writes)
  page:family("conflicts_total", "counter", "frames in which a stranger claimed an address of ours", pulse.conflicts)
end

-- Ports on routers.
local function upnp(page, self)
  if not self or not self.upnp.mode then return end
  local by_state, routers = { waiting = 0, mapped = 0, failed = 0, removing = 0 }, {}
  for _, it in ipairs(self:mappings()) do by_state[it.state] = by_state[it.state] + 1 end
  for _, it in pairs(self.upnp.gateways) do
    routers[#routers + 1] = { it.driver and 1 or 0, { router = it.router, interface = it.interface } }
  end
  page:counted("upnp_mappings", "gauge", "ports of Services on routers, by state", "state", by_state)
  page:family("upnp_gateway_up", "gauge", "1 for a router that answers by UPnP, 0 for one that does not", routers)
end

-- Leases, and what DHCP messages went and came.
local function dhcp(page, self)
  if not self then return end
  local stats, by_state, messages = self.dhcp:stats(), {}, {}
  for _, it in ipairs(self:leases()) do
    local state = it.state or "failed"
    by_state[state] = (by_state[state] or 0) + 1
  end
  page:counted("dhcp_leases", "gauge", "leases that this node has or asks for, by the client's state", "state",
    by_state)
  page:counted("dhcp_results_total", "counter", "what DHCP servers' answers, or their silence, came to: bound, "
    .. "renewed, changed, nak, expired, declined", "result", stats.results)
  for _, direction in ipairs({ "sent", "received" }) do
    for type, count in pairs(stats[direction]) do
      messages[#messages + 1] = { count, { direction = direction, type = type } }
    end
  end
  page:family("dhcp_messages_total", "counter", "DHCP messages by direction and type", messages)
  page:family("dhcp_bad_messages_total", "counter", "of what was heard, malformed", stats.bad)
end

--- The whole page.
-- @tparam Daemon daemon
-- @tparam Server server  for the loop's lag
-- @treturn string
function metrics.render(daemon, server)
  local page = exposition.new()
  process(page, daemon, server)
  api(page, daemon)
  events(page, daemon.events)
  queues(page, daemon)
  allocator(page, daemon.allocator)
  policies(page, daemon)
  announcer(page, daemon.announcer)
  upnp(page, daemon.announcer)
  dhcp(page, daemon.announcer)
  return page:text()
end

return metrics
