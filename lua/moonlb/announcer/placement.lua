--- Who owns a group: the seam between the announcer and the rules (moonlb.announcer.claims), one set of rules for each
-- segment, that is for each interface that announces. Without heartbeats this node is alone: what it can serve is its.
-- @module moonlb.announcer.placement
local heartbeat = require("moonlb.core.heartbeat")
local segment = require("moonlb.announcer.segment")

local placement = {}

local Placement = { __name = "moonlb.announcer.placement" }
Placement.__index = Placement

--- A node that cannot serve a group any more answers on for this time, in seconds, if others may take it over.
placement.GIVE = 2

-- An interface that could not be listened on is tried again after this many seconds.
local ATTACH_RETRY = 10

-- How soon something that may be due between two ticks is looked at, in seconds.
local SOON = 0.02
-- Ticks after which groups that moved between other nodes are looked at: nothing but a reason for people has changed.
local IDLE_TICKS = 10

-- The key of the segment of a node without heartbeats.
local ALONE = 0

--- @tparam table options  `node` (name); `on_change(key)`: ownership or claim of the group last updated with `key`
--   changed; `on_rival(key)`: a node with a lower claim announced it, too; `now()` seconds of CLOCK_BOOTTIME;
--   `after(seconds, fn)`; `is_alone`: no heartbeats
function placement.new(options)
  return setmetatable({ node = assert(options.node), on_change = options.on_change, now = assert(options.now),
    on_rival = options.on_rival or function() end, after = assert(options.after), is_alone = options.is_alone,
    groups = {}, by_id = {}, segments = {},
    changed = {}, moved = {}, ticks = 0, waits_for = "the heartbeats of other nodes are not heard yet" }, Placement)
end

--- The text of annotation `moonlb.io/claim`, "term node", or nil, message, "EINVAL".
function placement.parse_claim(text)
  local term, node = text:match("^(%d+) (%S+)$")
  term = term and #term <= 15 and math.tointeger(tonumber(term))
  if not term or term == 0 or #node > 253 then
    return nil, ("claim %q is not \"term node\""):format(text), "EINVAL"
  end
  return { term = term, node = node }
end

-- Tell of every group that changed, but not from within a change, and not of the one that is just being updated.
local function flush(self)
  if self.is_flushing then return end
  self.is_flushing = true
  while next(self.changed) do
    local batch = self.changed
    self.changed = {}
    for id in pairs(batch) do
      local state = self.groups[id]
      if state and not state.is_updating then self.on_change(state.key) end
    end
  end
  self.is_flushing = false
end

local function mark(self, binary_id)
  local state = self.by_id[binary_id]
  if state then self.changed[state.id] = true end
end

local function new_segment(self, index, mtu)
  local it = segment.new({
    me = self.node, now = self.now, index = index, pulse = not self.is_alone and self.pulse or nil, mtu = mtu,
    announce = function(id) mark(self, id) end,
    withdraw = function(id) mark(self, id) end,
    on_claim = function(id, claim)
      if not claim or claim.node == self.node then mark(self, id) else self.moved[id] = true end
    end,
    on_rival = function(id)
      local state = self.by_id[id]
      if state then self.on_rival(state.key) end
    end,
    place = function(id) return self.by_id[id] and self.by_id[id].place end,
  })
  it.claims:set_leaving(self.is_leaving or false)
  it.claims:set_stale(self.is_stale or false)
  self.segments[index] = it
  return it
end

-- Later, everything that has no segment is tried again.
local function retry_later(self)
  if self.is_retrying then return end
  self.is_retrying = true
  self.after(ATTACH_RETRY, function()
    self.is_retrying = false
    if self.is_stopped then return end
    for id, state in pairs(self.groups) do
      if not state.segment then self.changed[id] = true end
    end
    flush(self)
  end)
end

-- The segment of an interface; nil while it cannot be spoken on (nil, message: for a reason that people must see to).
local function segment_for(self, interface)
  if self.is_alone then return self.segments[ALONE] or new_segment(self, ALONE) end
  if not interface or not self.pulse then return nil end
  local found = self.segments[interface.index]
  if found then return found end
  local ok, message = self.attach(interface.index)
  if not ok then
    retry_later(self)
    return nil, message
  end
  return new_segment(self, interface.index, function() return self.mtu_of(interface.index) end)
end

--- Heartbeats may begin: there is a key. Groups that were updated before are to be updated again.
-- @tparam table transport  `pulse` (moonlb.core.pulse), `attach(index)` -> true | nil, message, `mtu(index)`
function Placement:connect(transport)
  self.pulse, self.attach, self.mtu_of = transport.pulse, transport.attach, transport.mtu
  for id in pairs(self.groups) do self.changed[id] = true end
  flush(self)
end

-- Steps of a turn are taken together: 1,000 Services that come at once cost one. Alone, a step has nothing to wait for.
local function step_soon(self, it)
  if it.is_due then return end
  if self.is_alone then return it:step() end
  it.is_due = true
  self.after(0, function()
    it.is_due = false
    if self.is_stopped then return end
    it:step()
    flush(self)
  end)
end

-- Take the group from one segment to another.
local function move(self, state, to)
  if state.segment == to then return end
  if state.segment then
    state.segment.claims:set_group(state.binary_id, false, self.now())
    step_soon(self, state.segment)
  end
  state.segment, state.is_willing = to, nil
  to.claims:set_group(state.binary_id, true, self.now())
end

local function cease(self, state)
  if state.trouble and state.segment then
    state.segment.claims:cease(state.binary_id, state.trouble)
    mark(self, state.binary_id)
  end
end

-- This node stops being willing: others get time to take over while it still answers.
local function set_trouble(self, state, trouble)
  local had_trouble = state.trouble
  state.trouble = trouble
  if state.is_willing == (trouble == nil) then return end
  state.is_willing = trouble == nil
  state.segment.claims:set_willing(state.binary_id, state.is_willing, self.now())
  if had_trouble or not trouble or not state.segment.claims.announcing[state.binary_id] then return end
  if not state.segment:has_peers() then return cease(self, state) end
  self.after(placement.GIVE, function()
    if self.is_stopped or self.groups[state.id] ~= state then return end
    cease(self, state)
    flush(self)
  end)
end

--- A group as it is now.
-- @tparam table group  `id`; `key` for on_change; `record` (the claim that the API remembers, or nil); `trouble` (why
--   this node does not qualify, or nil); `interface` (`{index=}` that its first address chose, or nil: the one before);
--   `place` (names that the leader ranked, or nil)
function Placement:update(group)
  local state = self.groups[group.id]
  if not state then
    state = { id = group.id, binary_id = heartbeat.id(group.id) }
    self.groups[group.id], self.by_id[state.binary_id] = state, state
  end
  state.key, state.place, state.record = group.key or group.id, group.place, group.record
  local to, failure = segment_for(self, group.interface)
  state.failure = failure
  to = to or state.segment
  if not to then return end
  state.is_updating = true
  move(self, state, to)
  if group.record then to.claims:record(state.binary_id, group.record, self.now()) end
  set_trouble(self, state, group.trouble)
  step_soon(self, to)
  state.is_updating = nil
  self.changed[state.id] = nil
  if self.is_alone then flush(self) end
end

--- The group is no more.
function Placement:remove(id)
  local state = self.groups[id]
  if not state then return end
  self.groups[id], self.by_id[state.binary_id] = nil, nil
  if not state.segment then return end
  state.segment.claims:set_group(state.binary_id, false, self.now())
  step_soon(self, state.segment)
end

--- Who owns the group.
-- @treturn boolean  this node does
-- @treturn table|nil  the claim `{term=, node=}`
-- @treturn string|nil  why nobody is known to
-- @treturn boolean|nil  whether that is a failure
function Placement:owner(id)
  local state = self.groups[id]
  if not state then return false, nil end
  if not state.segment then return false, state.record, state.failure or self.waits_for, state.failure ~= nil end
  return state.segment.claims.announcing[state.binary_id] or false, state.segment.claims.claim[state.binary_id]
end

--- All that is known of who could own the group, for people.
-- @treturn table|nil  `{is_mine=, claim=|nil, why=|nil, trouble=|nil, candidates=}`: the last see
--   moonlb.announcer.claims; empty while its segment is not known
function Placement:describe(id)
  local state = self.groups[id]
  if not state then return nil end
  local is_mine, claim, why = self:owner(id)
  local candidates = state.segment and state.segment:candidates(state.binary_id) or {}
  for _, it in ipairs(candidates) do
    if it.name == self.node and state.trouble then it.why = state.trouble end
  end
  return { is_mine = is_mine, claim = claim, why = why, trouble = state.trouble, candidates = candidates }
end

--- A planned move of the group to this node.
-- @tparam string id
-- @tparam integer term  of the claim that the request looked at
-- @treturn boolean  true: taken; false: spent; or nil, why not yet
function Placement:move_here(id, term)
  local state = self.groups[id]
  if not state or not state.segment then return nil, state and (state.trouble or state.failure) or self.waits_for end
  local taken, why = state.segment.claims:move_here(state.binary_id, term, self.now())
  if taken then step_soon(self, state.segment) end
  return taken, why and state.trouble or why
end

--- May this node write its claim over what the API remembers? Only a higher one, or the same.
function Placement:outranks(id, record)
  local state = self.groups[id]
  local claim = state and state.segment and state.segment.claims.claim[state.binary_id]
  return claim ~= nil and not (record and state.segment.claims:beats(state.binary_id, record, claim))
end

--- An event `heartbeat` of the pulse.
-- @treturn boolean  whether a peer has another MAC than before
function Placement:hear(frame)
  local it = self.segments[frame.index]
  if not it then return false end
  local is_new_mac = it:hear(frame)
  step_soon(self, it)
  return is_new_mac
end

-- Look again before the next tick, as long as there is something to wait for.
local function watch(self, it)
  if it.is_watched or not it.claims:is_waiting(self.now()) then return end
  it.is_watched = true
  self.after(SOON, function()
    it.is_watched = false
    if self.is_stopped then return end
    it:step()
    flush(self)
    watch(self, it)
  end)
end

--- An event `beat` of the pulse: a tick.
function Placement:tick()
  self.ticks = self.ticks + 1
  if self.ticks % IDLE_TICKS == 0 then
    for id in pairs(self.moved) do mark(self, id) end
    self.moved = {}
  end
  for _, it in pairs(self.segments) do
    it:tick()
    watch(self, it)
  end
  flush(self)
end

--- This node slept, or (with `index`) an interface was without carrier: what it held may be another's.
function Placement:slept(index)
  if self.is_alone then return end
  for i, it in pairs(self.segments) do
    if not index or i == index then it.claims:slept(self.now()) end
  end
  flush(self)
end

--- Our view of the API is older than 30 s, or is not.
function Placement:set_stale(is_stale)
  if self.is_alone or self.is_stale == is_stale then return end
  self.is_stale = is_stale
  for _, it in pairs(self.segments) do
    it.claims:set_stale(is_stale)
    step_soon(self, it)
  end
end

--- The interface has new sockets: what was said on the old ones is to be said again.
function Placement:attached(index)
  local it = self.segments[index]
  if it then it.said = nil end
end

--- The interface is gone for good.
function Placement:detached(index)
  local it = self.segments[index]
  if not it then return end
  self.segments[index] = nil
  for id, state in pairs(self.groups) do
    if state.segment == it then
      state.segment = nil
      self.changed[id] = true
    end
  end
  flush(self)
end

--- Serve nothing any more (drain, SIGTERM), or do again. What others do not take is still answered for.
function Placement:set_leaving(is_leaving)
  if self.is_alone or self.is_leaving == is_leaving then return end
  self.is_leaving = is_leaving
  for _, it in pairs(self.segments) do
    it.claims:set_leaving(is_leaving)
    it:step()
  end
  flush(self)
end

--- How many groups this node announces on segments where others could take them over.
function Placement:wanted_by_others()
  local count = 0
  for _, it in pairs(self.segments) do
    if it:has_peers() then
      for _ in pairs(it.claims.announcing) do count = count + 1 end
    end
  end
  return count
end

--- The nodes heard on each interface: index -> list (moonlb.announcer.segment.peers).
function Placement:peers()
  local by_index = {}
  for index, it in pairs(self.segments) do by_index[index] = it:peers() end
  return by_index
end

--- The MACs of all peers.
function Placement:macs()
  local list = {}
  for _, it in pairs(self.segments) do
    for _, mac in pairs(it.macs) do list[#list + 1] = mac end
  end
  return list
end

--- No step is taken any more.
function Placement:stop()
  self.is_stopped = true
end

return placement
