--- Addresses that will be given next, probed ahead of time (`--preprobe`): a Service that gets one need not wait for
-- the probe. The allocator that leads says which they are; each is probed as RFC 5227 section 2.1.1 has it, then
-- watched: a stranger's word takes it back. The allocator writes into the Service that the address was probed, and the
-- owner, on whatever node, believes that in the moment in which the write appears.
-- @module moonlb.announcer.preprobe
local fields = require("moonlb.allocator.fields")
local log = require("moonlb.core.log")

local preprobe = {}

local Preprobe = { __name = "moonlb.announcer.preprobe" }
Preprobe.__index = Preprobe

--- Three probes, this far apart; the last wait is for the answers. As --probe=fast.
local PROBES, PAUSE = 3, 0.05
--- A watched address is probed again after so many seconds: a host may have come that says nothing.
preprobe.REFRESH = 60
--- The owner believes a write for so many seconds.
preprobe.FRESH = 2
--- A stranger's address is no candidate for so many seconds.
preprobe.QUARANTINE = 600

--- @tparam table options  `io` (moonlb.announcer.wire): `watch`, `probe`, `is_ours`; `link_of(ip)`: the link whose own
--   subnet holds it, or nil; `is_in_use(ip)`: a VIP of this node watches or holds it; `now()`, `timer(seconds, fn)`,
--   `on_taken()`: `taken` changed
-- @treturn Preprobe
function preprobe.new(options)
  return setmetatable({ io = options.io, link_of = options.link_of, is_in_use = options.is_in_use, now = options.now,
    timer = options.timer, on_taken = options.on_taken, entries = {}, taken = {}, news = {} }, Preprobe)
end

local function forget(self, ip)
  local entry = self.entries[ip]
  self.entries[ip] = nil
  if entry.timer then entry.timer:stop() end
  if not self.is_in_use(ip) then self.io.watch(ip, entry.link.index, false) end
end

-- Probe number `i`, or the end of waiting for answers: nobody has it.
local function step(self, ip, i)
  local entry = self.entries[ip]
  if i > PROBES then
    entry.free_at = self.now()
    entry.timer = self.timer(preprobe.REFRESH, function() step(self, ip, 1) end)
    return
  end
  local ok, message = self.io.probe(ip, entry.link.index)
  if not ok then
    log.debug("cannot probe ahead", { address = ip, error = message })
    return forget(self, ip)
  end
  entry.timer = self.timer(PAUSE, function() step(self, ip, i + 1) end)
end

local function begin(self, ip)
  local link = self.link_of(ip)
  if not link or self.taken[ip] or self.is_in_use(ip) or not self.io.watch(ip, link.index, true) then return end
  self.entries[ip] = { link = link }
  step(self, ip, 1)
end

--- From now on these addresses are kept probed; what is in use here, or in no subnet of this node, is left out.
-- @tparam table list  array of addresses; replaces the one before
function Preprobe:want(list)
  local wanted = {}
  for _, ip in ipairs(list) do wanted[ip] = true end
  for ip in pairs(self.entries) do
    if not wanted[ip] then forget(self, ip) end
  end
  for _, ip in ipairs(list) do
    if not self.entries[ip] then begin(self, ip) end
  end
end

--- Was the address probed, and nothing heard of it since?
function Preprobe:is_free(ip)
  local entry = self.entries[ip]
  return entry ~= nil and entry.free_at ~= nil and self.now() - entry.free_at <= preprobe.REFRESH + 1
end

--- A foreign MAC claims, or asks for, the address (a pulse event).
-- @tparam table event  `address`, `index`, `mac`
function Preprobe:heard(event)
  local ip, entry = event.address, self.entries[event.address]
  if not entry or event.index ~= entry.link.index or self.io.is_ours(event.mac) then return end
  forget(self, ip)
  log.info("an address that was to be given next is in use", { address = ip, mac = event.mac })
  self.taken[ip] = ("in use by %s on %s"):format(event.mac, entry.link.name)
  self.timer(preprobe.QUARANTINE, function()
    self.taken[ip] = nil
    self.on_taken()
  end)
  self.on_taken()
end

local function probed_of(service)
  local annotations = service and service.metadata.annotations
  return type(annotations) == "table" and annotations[fields.PROBED] or nil
end

--- A Service changed: what is said to be probed from this moment on is believed for a moment. One that is seen for the
-- first time may have said so for days.
function Preprobe:on_service(new, old)
  local text = old and probed_of(new)
  if not text or text == probed_of(old) then return end
  for ip in text:gmatch("[^,%s]+") do
    self.news[ip] = true
    self.timer(preprobe.FRESH, function() self.news[ip] = nil end)
  end
end

--- May the address be taken without a probe of our own?
function Preprobe:is_news(ip)
  return self.news[ip] == true
end

return preprobe
