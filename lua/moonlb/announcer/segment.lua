--- One segment: the rules of ownership (moonlb.announcer.claims) among the nodes heard on one interface, and the
-- heartbeats that carry them. The pulse thread repeats what was said last in each tick; this says it when it changes.
-- @module moonlb.announcer.segment
local candidates = require("moonlb.announcer.candidates")
local claims = require("moonlb.announcer.claims")
local heartbeat = require("moonlb.core.heartbeat")

local segment = {}

local Segment = { __name = "moonlb.announcer.segment" }
Segment.__index = Segment

-- What of a frame the thread would repeat, as text: the same text is not said again.
local function fingerprint(frame)
  local parts = { ("%d %s %s %s"):format(frame.digest, frame.gives_all, frame.stale, frame.whole ~= nil) }
  for name in pairs(frame.want) do parts[#parts + 1] = name end
  for _, list in ipairs({ frame.statements, frame.relays }) do
    for _, entry in ipairs(list) do
      parts[#parts + 1] = ("%s %d %s"):format(entry[1], entry[2], tostring(entry[3]))
    end
  end
  return table.concat(parts, "\n")
end

local function say(self, frame)
  local text = fingerprint(frame)
  if text == self.said then return end
  self.said = text
  self.whole_id = self.whole_id % 0xffffffff + 1
  self.pulse:say(self.index, {
    digest = frame.digest, gives_all = frame.gives_all, stale = frame.stale, want = frame.want,
    relays = frame.relays, statements = frame.statements, whole_id = frame.whole and self.whole_id or nil,
  }, self.mtu())
end

--- A segment on which nobody was heard; it claims nothing for QUIET_START.
-- @tparam table options  `me` node name; `now()`; `announce`, `withdraw`, `place`, `on_claim`, `on_rival`: see
--   moonlb.announcer.claims, groups being 16-byte ids; `index` of the interface, `pulse`, `mtu()`; without `pulse` this
--   node is alone, hears nobody and claims at once
-- @treturn Segment
function segment.new(options)
  local self = setmetatable({ index = options.index, pulse = options.pulse, mtu = options.mtu, now = options.now,
    names = {}, macs = {}, whole_id = 0 }, Segment)
  self.claims = claims.new({
    me = options.me, announce = options.announce, withdraw = options.withdraw, place = options.place,
    on_claim = options.on_claim, on_rival = options.on_rival, node_id = heartbeat.node_id, gap = false,
    quiet_start = not options.pulse and 0 or nil,
    send = function(frame) if self.pulse then say(self, frame) end end,
  })
  if self.pulse then self.pulse:retell(self.index) end -- what was heard before this segment was wanted
  self.claims:start(self.now())
  self.claims:send(self.now())
  return self
end

-- When each peer was heard last, by the thread's own look at the clock: this loop may have been late.
local function refresh(self)
  if not self.pulse then return end
  local now = self.now()
  for slot, at in pairs(self.pulse:heard(self.index)) do
    local name = self.names[slot]
    if name then self.claims:beat(name, at, now) end
  end
end

--- Look at the clock and act on what changed.
function Segment:step()
  refresh(self)
  self.claims:step(self.now())
end

--- A tick: the same, and say what is to be said now.
function Segment:tick()
  self:step()
  self.claims:send(self.now())
end

--- A heartbeat that says something new arrived.
-- @tparam table frame  an event of moonlb.core.pulse
-- @treturn boolean  whether a MAC of a peer is another than before
function Segment:hear(frame)
  self.names[frame.slot] = frame.from
  local is_new_mac = self.macs[frame.slot] ~= frame.mac
  self.macs[frame.slot] = frame.mac
  self.claims:hear(frame, self.now())
  return is_new_mac
end

--- Is any other node alive here?
function Segment:has_peers()
  refresh(self)
  return self.claims:has_peers(self.now())
end

--- The nodes that could own a group, for people; see moonlb.announcer.claims.
function Segment:candidates(group)
  refresh(self)
  return candidates.list(self.claims, group, self.now())
end

--- The peers, for people: `{name=, mac=, heard_at= seconds, is_alive=, gives_all=}`, by name.
function Segment:peers()
  refresh(self)
  local list, now = {}, self.now()
  for slot, name in pairs(self.names) do
    local peer = self.claims.peers[name]
    list[#list + 1] = peer and { name = name, mac = self.macs[slot], heard_at = peer.heard_at,
      is_alive = self.claims:alive(name, now), gives_all = peer.gives_all }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

return segment
