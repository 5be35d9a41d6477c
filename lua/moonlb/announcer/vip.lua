--- One VIP's life on this node: when to probe, take, announce, defend, yield, release (RFC 5227; RFC 4862 section 5.4).
-- It decides; what it decides goes out through `io`, so that clock, random and wire can be played by a test.
--
--     wanted ──▶ probing ──▶ announcing ──▶ held ──▶ releasing ──▶ gone
--        ▲          │             │           │
--        └──────────┴─ conflict ◀─┴───────────┘        (conflict probes again, with back-off)
-- @module moonlb.announcer.vip
local log = require("moonlb.core.log")

local vip = {}

local Vip = { __name = "moonlb.announcer.vip" }
Vip.__index = Vip

--- When the frames of an announcement leave, in seconds after the take.
vip.BURST = { 0, 0.05, 0.1, 0.15, 0.3, 1 }
--- RFC 5227 section 1.1: at most one defence in this time.
vip.DEFEND_INTERVAL = 10
--- Accepting traffic outlives answering by this time, so that a planned move loses nothing.
vip.LINGER = 3

-- Frames this close to a defence belong to the claim it answered: a gratuitous request and reply are one claim, and
-- the stranger must get the chance to hear us. RFC 5227 section 2.4 (b) knows no such grace.
local SAME_CLAIM = 0.1
local CONFLICT_BASE, CONFLICT_CAP = 10, 300
local FAILURE_BASE, FAILURE_CAP = 1, 60
-- A VIP that was held this long had no conflict worth remembering: the next back-off starts small.
local CONFLICT_FORGET = 60

-- Waits before each probe and, last, after the final one; each from a random number in [0, 1).
local FAST = function() return { 0, 0.05, 0.05, 0.05 } end
local PROBE_WAITS = {
  fast = { [4] = FAST, [6] = FAST },
  rfc5227 = {
    -- RFC 5227 section 1.1: PROBE_WAIT 1, PROBE_NUM 3, PROBE_MIN 1, PROBE_MAX 2, ANNOUNCE_WAIT 2.
    [4] = function(random) return { random(), 1 + random(), 1 + random(), 2 } end,
    -- RFC 4862 section 5.4.2: a delay of up to 1 s, one solicitation (DupAddrDetectTransmits), RetransTimer 1 s.
    [6] = function(random) return { random(), 1 } end,
  },
  off = { [4] = function() return {} end, [6] = function() return {} end },
}

--- The probe modes there are, for the check of settings.
vip.PROBE_MODES = { fast = true, rfc5227 = true, off = true }

--- The waits before each probe and, last, after the final one, in seconds; empty when there is no probing.
-- @tparam string mode  one of vip.PROBE_MODES
-- @tparam number family  4 or 6
-- @tparam function random  in [0, 1)
function vip.probe_waits(mode, family, random)
  return PROBE_WAITS[mode][family](random)
end

--- A VIP in state `wanted`.
-- @tparam table io  the wire and the clock (moonlb.announcer.wire):
--   `now()` seconds; `random()` in [0, 1); `after(seconds, fn)` -> timer with `stop()`;
--   `watch(address, index, on)` -> true | nil, message, code: report conflicts of an address not held yet;
--   `probe(address, index)` -> true | nil, message, code: one ARP probe or DAD solicitation;
--   `take(address, index, done)`: accept on lo, answer on the interface; then `done(true | nil, message, code)`;
--   `silence(address, index)`: stop answering; `drop(address)`: stop accepting, after every silence of this turn;
--   `announce(address, index, is_first)`: one gratuitous request and reply, or one unsolicited NA; the first of a burst
--   goes before repetitions for other addresses;
--   `is_ours(mac)`: the MAC is a node's of ours, no stranger's.
-- @tparam table options  `address`, `family`, `probe` (a mode), `arp_rate` (seconds or nil),
--   `on_change(vip, old_state)`, `on_event(vip, type, reason, message)`
-- @treturn Vip
function vip.new(io, options)
  assert(PROBE_WAITS[options.probe], "probe: fast, rfc5227 or off expected")
  return setmetatable({
    io = io, address = assert(options.address), family = assert(options.family), probe_mode = options.probe,
    arp_rate = options.arp_rate, on_change = options.on_change, on_event = options.on_event,
    state = "wanted", since = io.now(), conflicts = 0, failures = 0, generation = 0,
  }, Vip)
end

-- The one place where the state changes.
function Vip:set_state(state, reason)
  local old = self.state
  self.reason = reason
  if old == state then return end
  self.state, self.since = state, self.io.now()
  log.info("vip", { address = self.address, from = old, to = state, reason = reason,
    interface = self.interface and self.interface.name })
  self.on_change(self, old)
end

--- Does this node answer for the address now?
function Vip:is_answering()
  return self.state == "announcing" or self.state == "held"
end

-- Whatever was scheduled or under way belongs to a past decision from here on.
function Vip:cancel()
  self.generation = self.generation + 1
  if self.timer then self.timer:stop() end
  self.timer, self.is_retrying = nil, false
end

-- Run `fn` after `seconds` unless something else is decided before.
function Vip:later(seconds, fn)
  self.timer = self.io.after(seconds, fn)
end

function Vip:stop_watching()
  if self.is_watching then self.io.watch(self.address, self.interface.index, false) end
  self.is_watching = false
end

-- Stop answering and, after `linger` seconds, accepting. `done` runs when the address is off the node.
function Vip:leave(linger, done)
  self:cancel()
  self:stop_watching()
  if self.is_answered then self.io.silence(self.address, self.interface.index) end
  self.is_answered = false
  local function drop()
    self.linger_timer = nil
    if self.is_accepted then self.io.drop(self.address) end
    self.is_accepted = false
    if done then done() end
  end
  if self.linger_timer then self.linger_timer:stop() end
  self.linger_timer = nil
  if linger > 0 and self.is_accepted then
    self.linger_timer = self.io.after(linger, drop)
  else
    drop()
  end
end

--- This node is to serve the address on `interface`. Idempotent.
-- @tparam table interface  `index`, `name`, `mac`
-- @tparam boolean is_known  the address is known to be ours (a claim in the API): no probe, this is a takeover
function Vip:serve(interface, is_known)
  local before = self.interface
  local is_busy = self.state == "probing" or self.state == "conflict" or self:is_answering() or self.is_taking
    or self.is_retrying
  if is_busy and before and before.index == interface.index then
    self.interface = interface
    if before.mac ~= interface.mac and self:is_answering() then
      self:burst("the MAC of " .. interface.name .. " changed")
    end
    return
  end
  if is_busy then self:leave(vip.LINGER) end
  self:cancel()
  self.is_taking = false
  -- Link flaps come back here: what this interface held a moment ago is no first use.
  local was_held = self.held_on == interface.index
  self.interface = interface
  if is_known or was_held then self:take() else self:probe(1) end
end

-- Send probe number `i` when its wait is over; take the address after the last wait.
function Vip:probe(i, waits)
  waits = waits or vip.probe_waits(self.probe_mode, self.family, self.io.random)
  if #waits == 0 then return self:take() end
  if not self.is_watching then
    local ok, message, code = self.io.watch(self.address, self.interface.index, true)
    if not ok then return self:fail(message, code) end
    self.is_watching = true
  end
  self:set_state("probing")
  self:later(waits[i], function()
    if i == #waits then return self:take() end
    local ok, message, code = self.io.probe(self.address, self.interface.index)
    if not ok then return self:fail(message, code) end
    self:probe(i + 1, waits)
  end)
end

-- Nobody else has it: accept and answer. The watch ends only when the address is held, so that nothing goes unseen.
function Vip:take()
  self:cancel()
  if self.linger_timer then self.linger_timer:stop() end
  self.linger_timer = nil
  self.is_taking, self.is_accepted, self.is_answered = true, true, true
  local generation = self.generation
  self.io.take(self.address, self.interface.index, function(ok, message, code)
    if generation ~= self.generation then return end
    self.is_taking = false
    if not ok then return self:fail(message, code) end
    self:stop_watching()
    self.failures, self.held_on = 0, self.interface.index
    self:burst()
  end)
end

-- Announce by the schedule; `held` once it is through.
function Vip:burst(reason)
  self:cancel()
  local start = self.io.now()
  local function step(i)
    self.io.announce(self.address, self.interface.index, i == 1)
    local next_at = vip.BURST[i + 1]
    if next_at then
      return self:later(math.max(0, start + next_at - self.io.now()), function() step(i + 1) end)
    end
    self:set_state("held")
    self:refresh()
  end
  self:set_state("announcing", reason)
  step(1)
end

--- A node of ours with a lower claim announces it too: tell the neighbours again, unless that is under way.
function Vip:insist()
  if self.state == "held" then self:burst("another node announced it too") end
end

-- Only where vip_arpRate asks for it: switches and neighbours learn from the burst.
function Vip:refresh()
  if not self.arp_rate then return end
  self:later(self.arp_rate, function()
    self.io.announce(self.address, self.interface.index)
    self:refresh()
  end)
end

-- The node could not do it (privileges, a vanished link): say so and try again.
function Vip:fail(message, code)
  self:leave(0)
  self.is_taking = false
  local delay = math.min(FAILURE_CAP, FAILURE_BASE * 2 ^ math.min(self.failures, 16))
  self.failures = self.failures + 1
  self:set_state("wanted", message)
  self.on_event(self, "Warning", "AnnounceFailed", ("%s: %s (%s); next try in %g s"):format(self.address, message,
    code or "?", delay))
  self.is_retrying = true
  self:later(delay, function()
    self.is_retrying = false
    self:probe(1)
  end)
end

--- A foreign MAC claims the address (a pulse event).
-- @tparam table event  `mac`, `index`, `operation`; `"probe"` asks whether the address is free (RFC 5227 section 2.1.1)
function Vip:heard(event)
  if not self.interface or event.index ~= self.interface.index or self.io.is_ours(event.mac) then return end
  if self.state == "probing" or self.is_taking then
    self:yield(event.mac, "is in use by %s on %s: not taken")
  elseif self:is_answering() and event.operation ~= "probe" then
    self:defend(event.mac)
  end
end

-- RFC 5227 section 2.4 (b): defend once in DEFEND_INTERVAL, give way to who insists.
function Vip:defend(mac)
  local now = self.io.now()
  local since = self.defended_at and now - self.defended_at or math.huge
  if since < SAME_CLAIM then return end
  if since < vip.DEFEND_INTERVAL then return self:yield(mac, "was taken over by %s on %s: yielded") end
  self.defended_at = now
  self.io.announce(self.address, self.interface.index)
  self.on_event(self, "Warning", "AddressConflict", ("%s is claimed by %s on %s: defended"):format(self.address, mac,
    self.interface.name))
end

-- The stranger has it. Quarantined: probed again with back-off, and never taken without a probe.
function Vip:yield(mac, what)
  local now = self.io.now()
  if self:is_answering() and now - self.since > CONFLICT_FORGET then self.conflicts = 0 end
  self:leave(0)
  self.is_taking, self.held_on = false, nil
  local delay = math.min(CONFLICT_CAP, CONFLICT_BASE * 2 ^ math.min(self.conflicts, 16))
  self.conflicts = self.conflicts + 1
  self.conflict = { mac = mac, interface = self.interface.name, at = now, retry_at = now + delay }
  local message = (what):format(mac, self.interface.name)
  self.on_event(self, "Warning", "AddressConflict", ("%s %s; next try in %g s"):format(self.address, message, delay))
  self:set_state("conflict", message)
  self:later(delay, function() self:probe(1) end)
end

--- The address is wanted, but this node cannot serve it now (link down, interface absent, another node's): withdraw.
-- @tparam string reason  shown to people
function Vip:wait(reason)
  if self.state == "wanted" and not self.is_taking then
    self:cancel()	-- a retry would only meet the same reason
    self.reason = reason
    return
  end
  self:leave(vip.LINGER)
  self.is_taking = false
  self:set_state("wanted", reason)
end

--- Nobody wants it any more.
-- @tparam number linger  seconds for which the node goes on accepting traffic; 0 at a clean stop
function Vip:release(linger)
  if self.state == "gone" then return end
  self.is_taking = false
  if self.state ~= "releasing" then
    self:set_state("releasing")
  elseif linger > 0 then
    return
  end
  self:leave(linger, function() self:set_state("gone") end)
end

return vip
