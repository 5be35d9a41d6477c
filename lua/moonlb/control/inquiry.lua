--- The control socket's operations for those who look for a fault: `explain`, `health`, `record`, `frames`.
-- @module moonlb.control.inquiry
local explain = require("moonlb.control.explain")
local facts = require("moonlb.control.explain.facts")
local flight = require("moonlb.control.flight")
local json = require("moonlb.json")
local recorder = require("moonlb.recorder")

local inquiry = {}

local PAGE = 200 -- entries of the recorder in an answer, each of a few KiB at most

local function key_of(request)
  local key = request.service
  return type(key) == "string" and #key <= 512 and key:match("^[^/%c]+/[^/%c]+$") or nil
end

local function explain_one(daemon, request, reply)
  local key = key_of(request)
  if not key then return reply(nil, "service: NAMESPACE/NAME expected", "EINVAL") end
  local it = facts.of_daemon(daemon, key)
  it.frames = daemon.announcer and flight.last_of(daemon.announcer, it.assigned) or nil
  reply(explain.report(it))
end

-- What `doctor` asks.
local function health(daemon, reply)
  local announcer = daemon.announcer
  local state = { missing = json.array(daemon.server and daemon.server:missing() or {}), peers = json.array(),
    announces = daemon.settings.announce or false, is_alone = not daemon.settings.heartbeat }
  for _, list in pairs(announcer and announcer.placement:peers() or {}) do
    for _, it in ipairs(list) do table.insert(state.peers, { name = it.name, mac = it.mac, is_alive = it.is_alive }) end
  end
  if announcer then
    local stats = announcer.pulse:stats()
    state.mute, state.events_lost = stats.muted or nil, stats.events_lost
  end
  reply(state)
end

local function count_of(value)
  return math.tointeger(value) or 0
end

--- Add them to the operations of a daemon.
-- @tparam table all  see moonlb.control.operations
-- @tparam Daemon daemon
function inquiry.add(all, daemon)
  function all.explain(request, reply) explain_one(daemon, request, reply) end

  function all.health(_, reply) health(daemon, reply) end

  function all.record(request, reply)
    local entries, next_sequence = recorder.since(math.max(0, count_of(request.after)), PAGE)
    reply({ entries = json.array(entries), next = next_sequence })
  end

  function all.frames(request, reply)
    if not daemon.announcer then return reply({ frames = json.array(), total = 0 }) end
    reply(flight.frames(daemon.announcer, math.max(0, count_of(request.skip))))
  end
end

return inquiry
