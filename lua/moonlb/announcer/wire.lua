--- The real `io` of VIPs: what they ask for in one turn of the loop goes out together. In this order, so that accepting
-- always encloses answering: addresses onto lo, the pulse's new table, addresses off lo, announcements.
-- @module moonlb.announcer.wire
local address = require("moonlb.core.address")
local interface = require("moonlb.announcer.interface")
local log = require("moonlb.core.log")

local wire = {}

-- Frames of one announcement by family: a gratuitous request and a reply; one advertisement.
local FRAMES = { [4] = 2, [6] = 1 }

local Wire = { __name = "moonlb.announcer.wire" }
Wire.__index = Wire

-- A netlink add costs 7 us to 220 us, depending on how many are there: at most so many, for at most so many seconds,
-- leave the loop its turn.
local CHANGES_PER_TURN, BUDGET = 500, 0.005
-- A timer of 0 s started by a timer would run before the loop looks at its sockets (libuv 1.44, uv__run_timers).
local NEXT_TURN = 0.001
-- Seconds until a table that could not be published is tried again.
local RETRY = 1
-- Announcements per interface and PACE seconds: 1,000 VIPs in 100 ms, and no switch takes it for a flood.
local ANNOUNCE_BATCH, PACE = 100, 0.01

--- @tparam table options  `host` (moonlb.announcer.host), `pulse`, `arp`, `ndp` (core modules), `now()`, `random()`,
--   `after(seconds, fn)` for VIPs (moonlb.announcer.pace), `timer(seconds, fn)` for the wire itself,
--   `on_attach(index)` (optional): the pulse opened sockets on an interface
-- @treturn table  the functions that moonlb.announcer.vip asks of its `io`, bound
function wire.new(options)
  local self = setmetatable({
    host = options.host, pulse = options.pulse, protocols = { [4] = options.arp, [6] = options.ndp },
    on_attach = options.on_attach or function() end,
    now = options.now, random = options.random, after = options.after, timer = options.timer,
    sent = { probe = 0, announcement = 0 },
    attached = {}, held = {}, takes = {}, take_order = {}, first_take = 1, drops = {}, announcements = {},
  }, Wire)
  for _, name in ipairs({ "watch", "answer", "probe", "take", "silence", "drop", "announce", "is_ours" }) do
    self[name] = function(...) return Wire[name](self, ...) end
  end
  return self
end

local function name_capability(message, code)
  if code ~= "EPERM" and code ~= "EACCES" then return message end
  if message:find("CAP_", 1, true) then return message end
  return message .. ": moonlb needs the capability CAP_NET_RAW"
end

-- A raw socket of the pulse on the interface, with the MAC that answers will carry.
function Wire:attach(index)
  local link = self.host.view.links[index]
  if not link then return nil, ("interface %d is gone"):format(index), "ENODEV" end
  if self.attached[index] == link.mac then return true end
  if self.attached[index] then
    self.pulse:set_mac(index, link.mac)
  else
    -- A macvlan of ours hears the heartbeats of its parent's segment, where they are listened to already.
    local ok, message, code = self.pulse:attach(index, link.mac, interface.is_ours(link) or nil)
    if not ok then return nil, name_capability(message, code), code end
    self.on_attach(index)
  end
  self.attached[index] = link.mac
  return true
end

--- The links changed: forget those that are gone (their VIPs withdraw by themselves), give the pulse new MACs.
function Wire:links_changed()
  for index, mac in pairs(self.attached) do
    local link = self.host.view.links[index]
    if not link then
      self.pulse:detach(index)
      self.attached[index] = nil
    elseif link.mac ~= mac then
      self:attach(index)
    end
  end
end

--- The pulse says that its sockets are of no use any more: the next attach opens others.
function Wire:interface_gone(index)
  self.attached[index] = nil
end

-- flush() at the end of this turn of the loop, or after `delay`.
function Wire:schedule(delay)
  if self.is_due or self.is_closed then return end
  self.is_due = true
  self.timer(delay or 0, function()
    self.is_due = false
    if not self.is_closed then self:flush() end
  end)
end

function Wire:table_changed()
  self.is_table_old = true
  self:schedule()
end

-- Without memory for the new table the thread goes on with the old one: tried again until it has it.
function Wire:publish()
  if not self.is_table_old then return end
  local ok, message, code = self.pulse:publish()
  self.is_table_old = not ok
  if ok then return end
  log.error("the thread that answers did not get its new table", { error = message, code = code, retry = RETRY })
  self.timer(RETRY, function()
    if not self.is_closed then self:flush() end
  end)
end

function Wire:watch(ip, index, is_on)
  if not is_on then
    self.pulse:probe_done(ip, index)
    self:table_changed()
    return true
  end
  local ok, message, code = self:attach(index)
  if not ok then return nil, message, code end
  ok, message, code = self.pulse:probe_for(ip, index)
  if not ok then return nil, message, code end
  self:table_changed()
  return true
end

local function protocol_of(self, ip)
  local _, family = address.canonical(ip)
  return self.protocols[family]
end

--- Answer for an address that the node does not accept: a link-local one by which a client talks to servers.
-- @treturn boolean  true; or nil, message, code
function Wire:answer(ip, index, is_on)
  local ok, message, code = true, nil, nil
  if is_on then ok, message, code = self:attach(index) end
  if ok then ok, message, code = self.pulse[is_on and "hold" or "drop"](self.pulse, ip, index) end
  self:table_changed()
  return ok, message, code
end

function Wire:probe(ip, index)
  self:publish()	-- an answer may come before the next turn
  local ok, message, code = protocol_of(self, ip).probe(index, self.attached[index], ip)
  if ok then
    self.sent.probe = self.sent.probe + 1
    return true
  end
  return nil, name_capability(message, code), code
end

function Wire:take(ip, index, done)
  self.drops[ip] = nil
  if not self.takes[ip] then self.take_order[#self.take_order + 1] = ip end
  self.takes[ip] = { index = index, done = done }
  self:schedule()
end

function Wire:silence(ip, index)
  if self.takes[ip] and self.takes[ip].index == index then self.takes[ip] = nil end
  for _, batch in pairs(self.announcements) do batch.set[ip] = nil end
  if self.held[ip] ~= index then return end
  self.pulse:drop(ip, index)
  self.held[ip] = nil
  self:table_changed()
end

function Wire:drop(ip)
  self.takes[ip] = nil
  self.drops[ip] = true
  self:schedule()
end

function Wire:announce(ip, index, is_first)
  local _, family = address.canonical(ip)
  local name = index .. "/" .. family
  local batch = self.announcements[name]
  if not batch then
    batch = { index = index, family = family, set = {}, order = {}, first = 1, urgent = {} }
    self.announcements[name] = batch
  end
  if not batch.set[ip] then
    batch.set[ip] = true
    local list = is_first and batch.urgent or batch.order
    list[#list + 1] = ip
  end
  self:schedule()
end

--- Are there addresses to take, or neighbours to be told of an address for the first time?
function Wire:is_behind()
  if self.take_order[1] then return true end
  for _, batch in pairs(self.announcements) do
    if batch.urgent[1] then return true end
  end
  return false
end

--- The MAC is a node's of ours: no stranger's.
function Wire:is_ours(mac)
  return self.host:has_mac(mac)
end

function Wire:take_one(ip, take)
  local ok, message, code = self:attach(take.index)
  if ok then ok, message, code = self.host:silence_kernel(take.index) end
  if ok then ok, message, code = self.host:accept(ip, take.index) end
  if ok then ok, message, code = self.pulse:hold(ip, take.index) end
  if not ok then return { done = take.done, message = message, code = code } end
  self.held[ip], self.is_table_old = take.index, true
  return { done = take.done, ok = true }
end

-- A turn's share of the takes; what each has to be told once the table is out.
function Wire:do_takes()
  local results, till = {}, self.now() + BUDGET
  while self.first_take <= #self.take_order and #results < CHANGES_PER_TURN and self.now() <= till do
    local ip = self.take_order[self.first_take]
    self.first_take = self.first_take + 1
    local take = self.takes[ip]
    self.takes[ip] = nil
    if take then results[#results + 1] = self:take_one(ip, take) end
  end
  if self.first_take > #self.take_order then self.take_order, self.first_take = {}, 1 end
  return results
end

function Wire:do_drops(limit, seconds)
  local count, till = 0, self.now() + seconds
  for ip in pairs(self.drops) do
    if count == limit or self.now() > till then return self:schedule(NEXT_TURN) end
    count = count + 1
    self.drops[ip] = nil
    self.host:refuse(ip)
  end
end

-- What neighbours have not heard at all goes first: the newest first, which does not matter among those.
local function next_batch(batch)
  local list = {}
  while batch.urgent[1] and #list < ANNOUNCE_BATCH do
    local ip = table.remove(batch.urgent)
    if batch.set[ip] then list[#list + 1] = ip end
    batch.set[ip] = nil
  end
  while batch.first <= #batch.order and #list < ANNOUNCE_BATCH do
    local ip = batch.order[batch.first]
    batch.first = batch.first + 1
    if batch.set[ip] then list[#list + 1] = ip end
    batch.set[ip] = nil
  end
  return list
end

-- The next ANNOUNCE_BATCH of each interface and family; what a full queue left over comes again. A send that fails
-- (link going down) is no news: the link's notification decides what becomes of the VIPs.
function Wire:do_announcements()
  for name, batch in pairs(self.announcements) do
    local list, mac = next_batch(batch), self.attached[batch.index]
    local sent = list[1] and mac and self.protocols[batch.family].announce(batch.index, mac, list)
    self.sent.announcement = self.sent.announcement + FRAMES[batch.family] * (sent or 0)
    for i = (sent or #list) + 1, #list do
      batch.set[list[i]] = true
      batch.order[#batch.order + 1] = list[i]
    end
    if not batch.urgent[1] and batch.first > #batch.order then self.announcements[name] = nil end
  end
  if not next(self.announcements) then return end
  self.is_paced = true
  self.timer(PACE, function()
    self.is_paced = false
    if not self.is_closed then self:do_announcements() end
  end)
end

--- Send out what was asked for since the last turn.
function Wire:flush()
  local results = self:do_takes()
  self:publish()
  self:do_drops(CHANGES_PER_TURN, BUDGET)
  for _, result in ipairs(results) do result.done(result.ok, result.message, result.code) end
  if not self.is_paced then self:do_announcements() end
  if self.take_order[1] then self:schedule(NEXT_TURN) end
end

--- Clean stop: everything that was asked for, now; then nothing more.
function Wire:close()
  if self.is_closed then return end
  self.is_closed = true
  self:publish()
  self:do_drops(math.huge, math.huge)
  for index in pairs(self.attached) do self.pulse:detach(index) end
  self.attached = {}
end

return wire
