--- The life of one Service's lease on this node: macvlan, client, and the VIP that the leased address is.
--
--     idle ──▶ serving ──▶ lingering ──▶ idle        lingering: another node's, or no carrier; 3 s of accepting
--                 ▲            │
--                 └────────────┘
-- @module moonlb.announcer.dhcp.life
local log = require("moonlb.core.log")
local macvlan = require("moonlb.announcer.dhcp.macvlan")
local probe = require("moonlb.announcer.dhcp.probe")
local record = require("moonlb.announcer.dhcp.record")
local session = require("moonlb.announcer.dhcp.session")
local vip = require("moonlb.announcer.vip")
local wishes = require("moonlb.announcer.dhcp.wishes")

local life = {}

local Life = { __name = "moonlb.announcer.dhcp.life" }
Life.__index = Life

--- The switches' entries are kept alive by a gratuitous ARP each so many seconds.
life.REFRESH = 60
-- The former address goes when status shows the new one, or after so many seconds.
local OLD_MOST = 5
local FAILURE_BASE, FAILURE_CAP = 1, 60

--- @tparam table io  what session.open needs, and `wall()` seconds since 1970, `seed()` an integer, `netlink`, `host`,
--   `wire`, `hold(address)` -> handle with `close()` or nil: a UDP socket that keeps port 68 from being unreachable;
--   `family` (4 or 6), `any` (0.0.0.0 or ::), `source(mac)` -> the link-local address that servers answer to, or nil
-- @tparam table owner  `service()` the object or nil, `identity`, `probe` (mode), `arp_rate` (or nil),
--   `new_vip(address, arp_rate)` -> Vip of this Service, or nil and whose the address is; `owner_of(address)` -> text:
--   whose it is on this node, or nil; `refuse(address)`: no longer accepted, if no VIP has it;
--   `tell(type, reason, message)`: an Event; `changed()`: status may have to say something else; `count(result)`,
--   `retire(stats)` of a client that has ended
-- @tparam string key  namespace/name
function life.new(io, owner, key)
  return setmetatable({ io = io, owner = owner, key = key, phase = "idle", failures = 0, olds = {} }, Life)
end

local function set_phase(self, phase, reason)
  if self.phase == phase then return end
  log.info("lease", { service = self.key, from = self.phase, to = phase, reason = reason,
    address = self.vip and self.vip.address })
  self.phase = phase
end

local function annotations_of(service)
  local annotations = service and service.metadata.annotations
  return type(annotations) == "table" and annotations or {}
end

local function shows(service, ip)
  local balancer = type(service.status) == "table" and service.status.loadBalancer
  for _, entry in ipairs(type(balancer) == "table" and type(balancer.ingress) == "table" and balancer.ingress or {}) do
    if entry.ip == ip then return true end
  end
  return false
end

-- The lease to go on with: this node's own, or the API's. An annotation may have been copied from another Service;
-- status cannot, and is written together with it.
local function known_lease(self, service)
  local now = self.io.now()
  local own = self.lease
  if own and own.at + own.seconds > now then return own, own.address end
  local lease, ip = record.read(annotations_of(service)[record.ANNOTATION], self.io.family, self.io.wall(), now)
  if lease and shows(service, lease.address) then return lease, ip end
  return nil, ip
end

-- Serve the leased address as a VIP of the macvlan, as one that is known to be ours.
local function take(self, ip)
  if self.vip and self.vip.address == ip then
    self.vip:serve(self.link, true)
    return true
  end
  local fresh, whose = self.owner.new_vip(ip, self.owner.arp_rate or life.REFRESH)
  if not fresh then return nil, whose end
  if self.vip then
    local old = self.vip
    self.olds[#self.olds + 1] = old
    self.old_timer = self.old_timer or self.io.after(OLD_MOST, function() self:drop_olds() end)
  end
  self.vip = fresh
  fresh:serve(self.link, true)
  return true
end

--- The former addresses have no more use.
function Life:drop_olds()
  if self.old_timer then self.old_timer:stop() end
  self.old_timer = nil
  local olds = self.olds
  self.olds = {}
  for _, old in ipairs(olds) do old:release(0) end
end

local function drop_vip(self, linger)
  self:drop_olds()
  local it = self.vip
  self.vip, self.is_news = nil, false
  if it then it:release(linger) end
  if self.port then self.port:close() end
  self.port = nil
end

-- Is the address free? One that this node answers for already is watched by its VIP.
local function check(self, ip, done)
  if self.vip and self.vip.address == ip and self.vip:is_answering() then return done(true) end
  local whose = self.owner.owner_of(ip)
  if whose then
    self.owner.tell("Warning", "AddressConflict", ("%s, offered by DHCP, is %s: declined"):format(ip, whose))
    return done(false)
  end
  self.probe = probe.start(self.io.wire, { address = ip, family = self.io.family, index = self.link.index,
    mode = self.owner.probe,
    done = function(is_free, mac, trouble)
      self.probe = nil
      if mac then
        local message = ("%s, offered by DHCP, is in use by %s: declined"):format(ip, mac)
        self.owner.tell("Warning", "AddressConflict", message)
      elseif trouble then
        return self:fail(trouble)
      end
      done(is_free)
    end })
end

local function on_bound(self, lease, is_new, is_changed)
  self.owner.count(is_new and "bound" or is_changed and "changed" or "renewed")
  self.failures = 0
  local ok, whose = take(self, lease.address)
  if not ok then
    log.warn("a leased address is somebody's here", { service = self.key, address = lease.address, whose = whose })
    return self.session:step("checked", false)
  end
  self.lease, self.is_lost, self.last_loss = lease, false, nil
  self.record = record.format(lease, self.io.wall() - (self.io.now() - lease.at))
  self.is_news = self.is_news or is_new or is_changed
  self.owner.changed()
end

local function on_lost(self, ip, reason, message)
  self.owner.count(reason)
  local was_held = self.vip and self.vip.address == ip
  log.info("lease lost", { service = self.key, address = ip, reason = reason, error = message })
  self.lease, self.record = nil, nil
  self.last_loss = { reason = reason, message = message, address = ip }
  if not was_held then return end
  self.is_lost = true
  drop_vip(self, 0)
  self.owner.tell("Warning", "LeaseLost", ("%s: %s"):format(ip, message))
  self.owner.changed()
end

local function on_note(self, message)
  log.info("dhcp", { service = self.key, note = message })
  self.owner.tell("Normal", "LeaseNote", message)
end

local function open_session(self, wanted, lease, ip)
  return session.open(self.io, { index = self.link.index, service = self.key,
    client = wishes.client(wanted, self.io.family, self.io.seed(), lease, ip),
    check = function(...) return check(self, ...) end,
    on_bound = function(...) return on_bound(self, ...) end,
    on_lost = function(...) return on_lost(self, ...) end,
    on_note = function(...) return on_note(self, ...) end })
end

-- An annotation of which nothing can be made is said once, as long as it stays.
local function complain(self, problems)
  local text = table.concat(problems, "; ")
  if text ~= "" and text ~= self.problems then self.owner.tell("Warning", "AnnotationInvalid", text) end
  self.problems = text
end

-- Another interface than the one before: of another name, or below another one.
local function remove_link(self)
  if self.link then
    self.io.host:clear(self.link.index)
    macvlan.remove(self.io.netlink, self.link.index)
  end
  self.link = nil
end

local function make_link(self, wanted)
  if self.link and (self.link.name ~= wanted.name or self.parent.index ~= self.link_parent) then remove_link(self) end
  -- One of another name: an earlier run's, when an annotation or the identity was another.
  macvlan.sweep(self.io.netlink, self.io.host.view.links, function(key, link)
    return key ~= self.key or link.name == wanted.name
  end)
  local index, message, code = macvlan.ensure(self.io.netlink, self.parent, { key = self.key, name = wanted.name,
    mac = wanted.mac, rp_filter = wanted.rp_filter })
  if not index then return nil, message, code end
  self.link, self.link_parent = self.io.host:learn(index), self.parent.index
  if not self.link then return nil, ("macvlan %s is gone"):format(wanted.name), "ENODEV" end
  return true
end

-- Macvlan, client and, where a lease is known, the address: everything that serving is.
local function begin(self)
  local service = self.owner.service()
  if not service then return end
  local wanted, problems = wishes.of(self.owner.identity(), service)
  complain(self, problems)
  self.signature = wishes.signature(annotations_of(service))
  local ok, message, code = make_link(self, wanted)
  if not ok then return self:fail(message, code) end
  local lease, ip = known_lease(self, service)
  self.session, message, code = open_session(self, wanted, lease, ip)
  if not self.session then return self:fail(message, code) end
  self.source = self.io.source(wanted.mac)
  if self.source then self.io.wire.answer(self.source, self.link.index, true) end
  if lease and take(self, lease.address) then
    self.lease = lease
    self.record = annotations_of(service)[record.ANNOTATION]
  end
  self.session:step("start")
  self.owner.changed()
end

local function end_session(self)
  if self.source and self.link then self.io.wire.answer(self.source, self.link.index, false) end
  self.source = nil
  if self.probe then self.probe:stop() end
  if self.session then
    self.session:close()
    self.owner.retire(self.session.client:stats())
  end
  if self.retry then self.retry:stop() end
  self.probe, self.session, self.retry = nil, nil, nil
end

--- The node could not do it: said, and tried again.
function Life:fail(message, code)
  end_session(self)
  drop_vip(self, 0)
  remove_link(self)
  local delay = math.min(FAILURE_CAP, FAILURE_BASE * 2 ^ math.min(self.failures, 16))
  self.failures = self.failures + 1
  self.owner.tell("Warning", "AnnounceFailed", ("DHCP: %s (%s); next try in %g s"):format(message, code or "?", delay))
  self.retry = self.io.after(delay, function()
    self.retry = nil
    if self.phase == "serving" then begin(self) end
  end)
end

--- This node is to have the lease, on `parent`. Idempotent.
-- @tparam table parent  the interface: `index`, `name`
function Life:serve(parent)
  local before = self.parent
  self.parent = parent
  if self.phase == "serving" then
    local is_same = before.index == parent.index
      and self.signature == wishes.signature(annotations_of(self.owner.service()))
    if is_same then return end
    -- As another client, or on another LAN: the server there has nothing to do with this lease any more.
    if self.session then self.session:release("asked for in another way") end
    end_session(self)
    drop_vip(self, 0)
    self.lease, self.record = nil, nil
  end
  if self.linger then self.linger:stop() end
  self.linger = nil
  set_phase(self, "serving")
  begin(self)
end

-- What an earlier run left of this Service, where another node serves it by now.
local function remove_stray(self)
  macvlan.sweep(self.io.netlink, self.io.host.view.links, function(key) return key ~= self.key end)
  local it = record.parse(annotations_of(self.owner.service())[record.ANNOTATION])
  if it then self.owner.refuse(it.address) end
end

--- It is not this node's, or not now: silent at once, accepting for a moment, no word to the server.
-- @tparam string reason
-- @tparam boolean is_others  another node has it
function Life:yield(reason, is_others)
  if self.phase == "idle" and is_others and not self.is_swept then
    self.is_swept = true
    remove_stray(self)
  end
  if self.phase ~= "serving" then return end
  end_session(self)
  if self.vip then self.vip.reason = reason end
  drop_vip(self, vip.LINGER)
  self.is_lost = false
  if is_others then self.lease = nil end	-- from here on the API knows better
  self.owner.changed()
  set_phase(self, "lingering", reason)
  self.linger = self.io.after(vip.LINGER, function()
    self.linger = nil
    remove_link(self)
    set_phase(self, "idle")
  end)
end

--- The Service is gone, or wants no lease any more: given back, and nothing of it left.
function Life:release()
  if self.session then self.session:release("the Service is gone") end
  if self.linger then self.linger:stop() end
  end_session(self)
  drop_vip(self, 0)
  self.lease, self.record = nil, nil
  remove_link(self)
  remove_stray(self)
  set_phase(self, "idle", "the Service is gone")
end

--- moonlb stops. The lease stays, for who serves it next.
function Life:close()
  end_session(self)
  if self.linger then self.linger:stop() end
  drop_vip(self, 0)
  remove_link(self)
  set_phase(self, "idle", "moonlb stops")
end

--- The VIP changed its state.
function Life:on_vip(it)
  if it ~= self.vip then return end
  if it.state == "conflict" then
    -- A stranger insists: RFC 2131 section 4.4.1, DECLINE. In its own turn, the VIP is in the midst of yielding.
    self.io.after(0, function()
      if self.session and self.vip == it and it.state == "conflict" then self.session:step("checked", false) end
    end)
  elseif it:is_answering() and not self.port then
    self.port = self.io.hold(it.address)
  end
end

--- A pulse event about an address that is being probed.
function Life:heard(event)
  if self.probe then self.probe:heard(event) end
end

--- Status shows `addresses`: what was to follow that follows now.
-- @tparam table addresses  set
function Life:written(addresses)
  local ip = self.vip and self.vip.address
  if not ip or not addresses[ip] or not self.vip:is_answering() then return end
  if self.is_news and self.lease then
    self.is_news = false
    local seconds = self.lease.seconds
    local text = ("%s leased from %s for %s on %s (%s)"):format(ip, record.server(self.lease),
      seconds == math.huge and "ever" or ("%d s"):format(seconds // 1), self.parent.name, self.link.name)
    self.owner.tell("Normal", "LeaseBound", text)
  end
  self:drop_olds()
end

--- Links changed: is the macvlan still there, and up; has the LAN come back?
-- @tparam table links  index -> link
function Life:links_changed(links)
  if self.phase ~= "serving" or not self.link then return end
  local link = links[self.link.index]
  if not link then
    log.warn("a macvlan was removed: it is made again", { service = self.key, interface = self.link.name })
    end_session(self)
    self.link = nil
    if links[self.parent.index] then begin(self) end
    return
  end
  self.is_cut = self.is_cut or (self.link.is_running and not link.is_running)
  self.link = link
  if not link.is_up then
    self.io.netlink:link_set(link.index, { up = true })
  elseif link.is_running and self.is_cut then
    self.is_cut = false
    if self.session then self.session:step("link_up") end
  end
end

--- What status is to show, and what the annotation is to say; nil while that is not decided.
-- @treturn table|nil  addresses
-- @treturn string|boolean|nil  the record; false: none; nil: leave it
function Life:shown()
  if self.phase ~= "serving" then return nil end
  if not self.vip then
    if self.is_lost then return { self.io.any }, false end
    return { self.io.any }
  end
  if not self.vip:is_answering() then return nil end
  return { self.vip.address }, self.record
end

--- For people: see Announcer:leases.
function Life:describe()
  if self.phase ~= "serving" then return nil end
  local lease = self.lease or {}
  local since = lease.at
  return { service = self.key, address = self.vip and self.vip.address, server = lease.server and record.server(lease),
    since = since,
    t1 = since and lease.t1 and since + lease.t1, t2 = since and lease.t2 and since + lease.t2,
    lost = self.last_loss and self.last_loss.reason, lost_address = self.last_loss and self.last_loss.address,
    expires = since and lease.seconds and since + lease.seconds, state = self.session and self.session.client:state(),
    interface = self.link and self.link.name, mac = self.link and self.link.mac }
end

return life
