--- /metrics in the Prometheus text format 0.0.4: counters end in `_total`, gauges do not, units are base units.
-- @module moonlb.daemon.metrics
local async = require("moonlb.async")
local runtime = require("moonlb.core.runtime")

local metrics = {}

local function escape(value)
  return (tostring(value):gsub("[\\\n\"]", { ["\\"] = "\\\\", ["\n"] = "\\n", ["\""] = "\\\"" }))
end

local function labels_text(labels)
  if not labels then return "" end
  local parts = {}
  for name, value in pairs(labels) do parts[#parts + 1] = ("%s=\"%s\""):format(name, escape(value)) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

local function number_text(value)
  return math.tointeger(value) and tostring(math.tointeger(value)) or ("%.9g"):format(value)
end

-- One family: `samples` is a number, or a list of {value, labels}.
local function family(out, name, kind, help, samples)
  if type(samples) ~= "table" then samples = { { samples } } end
  if #samples == 0 then return end
  out[#out + 1] = ("# HELP moonlb_%s %s"):format(name, help)
  out[#out + 1] = ("# TYPE moonlb_%s %s"):format(name, kind)
  for _, sample in ipairs(samples) do
    out[#out + 1] = ("moonlb_%s%s %s"):format(name, labels_text(sample[2]), number_text(sample[1]))
  end
end

local function process(out, daemon, server)
  local memory = runtime.memory()
  family(out, "build_info", "gauge", "1, with the version as a label", { { 1, { version = runtime.version } } })
  family(out, "uptime_seconds", "gauge", "time since the start", runtime.boottime() - daemon.started_at)
  family(out, "resident_memory_bytes", "gauge", "memory of the process in RAM", memory.rss)
  family(out, "anonymous_memory_bytes", "gauge", "the part of it that is no file", memory.anonymous)
  family(out, "lua_memory_bytes", "gauge", "the part of it that Lua holds", collectgarbage("count") * 1024)
  family(out, "loop_lag_seconds", "gauge", "lateness of the event loop at the last look", server.lag)
  family(out, "loop_lag_worst_seconds", "gauge", "the worst of them since the start", server.worst_lag)
  local long, longest = runtime.long_callbacks()
  family(out, "long_callbacks_total", "counter", "callbacks that held the event loop for over 20 ms", long)
  family(out, "longest_callback_seconds", "gauge", "the longest of all callbacks since the start", longest)
  family(out, "callback_errors_total", "counter", "errors caught at the boundary of callbacks and tasks",
    runtime.callback_errors() + async.failures)
end

local function api(out, daemon)
  local stats, samples = daemon.connection.core:stats(), {}
  for what, count in pairs(stats.by) do
    local verb, code = what:match("^(%S+) (%S+)$")
    samples[#samples + 1] = { count, { verb = verb, code = code } }
  end
  table.sort(samples, function(a, b) return labels_text(a[2]) < labels_text(b[2]) end)
  family(out, "api_requests_total", "counter", "requests to the API server by verb and HTTP status", samples)
  family(out, "api_requests_in_flight", "gauge", "requests under way", stats.in_flight)
  family(out, "api_requests_queued", "gauge", "requests that wait for their turn", stats.queued)
  family(out, "watch_restarts_total", "counter", "watches that ended and were begun again",
    { { daemon.services.restarts, { resource = "services" } } })
  family(out, "services", "gauge", "Services known, of any type", daemon.services.count)
  family(out, "events_dropped_total", "counter", "Events lost to their limits", daemon.events.dropped)
end

local function queue(out, name, stats)
  family(out, "queue_" .. name .. "_depth", "gauge", "keys that wait to be reconciled", stats.depth)
  family(out, "queue_" .. name .. "_done_total", "counter", "keys reconciled", stats.done)
  family(out, "queue_" .. name .. "_failed_total", "counter", "of them, failures that come again", stats.failed)
  family(out, "queue_" .. name .. "_wait_seconds_total", "counter", "time that keys waited", stats.latency_sum)
end

local function allocator(out, self)
  if not self then return end
  queue(out, "allocator", self.queue:stats())
  family(out, "leader", "gauge", "1 on the process that allocates", self:leading() and 1 or 0)
  local decisions = {}
  for action, count in pairs(self.counts) do decisions[#decisions + 1] = { count, { action = action } } end
  table.sort(decisions, function(a, b) return labels_text(a[2]) < labels_text(b[2]) end)
  family(out, "decisions_written_total", "counter", "decisions carried out, by what was decided", decisions)
  local size, used = {}, {}
  for _, pool in ipairs(self.engine:pools()) do
    for _, part in ipairs(pool.families or {}) do
      local labels = { pool = pool.name, family = part.family == 6 and "ipv6" or "ipv4" }
      size[#size + 1], used[#used + 1] = { part.size, labels }, { part.used, labels }
    end
  end
  family(out, "pool_addresses", "gauge", "addresses in a pool", size)
  family(out, "pool_addresses_used", "gauge", "of them, not free", used)
end

local function policies(out, daemon)
  if not daemon.policies then return end
  local loaded, benched, failures = {}, {}, {}
  for _, it in ipairs(daemon.policies:list()) do
    loaded[#loaded + 1] = { it.is_loaded and not it.error and 1 or 0, { policy = it.name } }
  end
  for name, count in pairs(daemon.host.failures) do
    failures[#failures + 1] = { count, { policy = name } }
    benched[#benched + 1] = { daemon.host:benched(name) and 1 or 0, { policy = name } }
  end
  for _, samples in ipairs({ failures, benched }) do
    table.sort(samples, function(a, b) return labels_text(a[2]) < labels_text(b[2]) end)
  end
  family(out, "policy_up_to_date", "gauge", "1 when the mounted file is in use, 0 when it was refused", loaded)
  family(out, "policy_failures_total", "counter", "decisions and rankings at which a policy failed", failures)
  family(out, "policy_benched", "gauge", "1 while a policy is not asked, because it failed again and again", benched)
end

local function announcer(out, self)
  if not self then return end
  queue(out, "status", self.queue:stats())
  local by_state, samples = {}, {}
  for _, it in ipairs(self:list()) do by_state[it.state] = (by_state[it.state] or 0) + 1 end
  for state, count in pairs(by_state) do samples[#samples + 1] = { count, { state = state } } end
  table.sort(samples, function(a, b) return labels_text(a[2]) < labels_text(b[2]) end)
  family(out, "vips", "gauge", "addresses on this node by state", samples)
  local pulse = self.pulse:stats()
  family(out, "requests_heard_total", "counter", "ARP requests and neighbour solicitations for held addresses",
    pulse.requests)
  family(out, "requests_answered_total", "counter", "of them, answered", pulse.answered)
  local alive = 0
  for _, peers in pairs(self.placement:peers()) do
    for _, peer in ipairs(peers) do alive = alive + (peer.is_alive and 1 or 0) end
  end
  family(out, "peers", "gauge", "other nodes that are heard, on each interface", alive)
  local heartbeats = {}
  for _, verdict in ipairs({ "heard", "foreign", "bad", "forged", "replayed", "unproven", "own" }) do
    heartbeats[#heartbeats + 1] = { pulse["heartbeats_" .. verdict], { verdict = verdict } }
  end
  family(out, "heartbeats_total", "counter", "heartbeats that arrived, by what became of them", heartbeats)
  family(out, "heartbeats_sent_total", "counter", "heartbeats sent", pulse.heartbeats_sent)
  family(out, "conflicts_total", "counter", "frames in which a stranger claimed an address of ours", pulse.conflicts)
end

-- Ports on routers.
local function upnp(out, self)
  if not self or not self.upnp.mode then return end
  local by_state, samples, routers = { waiting = 0, mapped = 0, failed = 0, removing = 0 }, {}, {}
  for _, it in ipairs(self:mappings()) do by_state[it.state] = by_state[it.state] + 1 end
  for state, count in pairs(by_state) do samples[#samples + 1] = { count, { state = state } } end
  for _, it in pairs(self.upnp.gateways) do
    routers[#routers + 1] = { it.driver and 1 or 0, { router = it.router, interface = it.interface } }
  end
  for _, list in ipairs({ samples, routers }) do
    table.sort(list, function(a, b) return labels_text(a[2]) < labels_text(b[2]) end)
  end
  family(out, "upnp_mappings", "gauge", "ports of Services on routers, by state", samples)
  family(out, "upnp_gateway_up", "gauge", "1 for a router that answers by UPnP, 0 for one that does not", routers)
end

--- The whole page.
-- @tparam Daemon daemon
-- @tparam Server server  for the loop's lag
-- @treturn string
function metrics.render(daemon, server)
  local out = {}
  process(out, daemon, server)
  api(out, daemon)
  allocator(out, daemon.allocator)
  policies(out, daemon)
  announcer(out, daemon.announcer)
  upnp(out, daemon.announcer)
  return table.concat(out, "\n") .. "\n"
end

return metrics
