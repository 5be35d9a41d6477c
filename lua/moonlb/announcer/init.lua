--- The announcer: Services with an address become groups, groups are placed, their addresses become VIPs.
-- Deciding never waits for the API: events of the informers, of netlink and of the wire are acted upon in their own
-- turn of the loop. Writing (status, annotations) is a queue of its own that may be as slow as the API server is.
-- @module moonlb.announcer
local async = require("moonlb.async")
local collector = require("moonlb.announcer.collector")
local dhcp = require("moonlb.announcer.dhcp")
local endpoints = require("moonlb.announcer.endpoints")
local groups = require("moonlb.announcer.groups")
local host = require("moonlb.announcer.host")
local interface = require("moonlb.announcer.interface")
local log = require("moonlb.core.log")
local moving = require("moonlb.announcer.moving")
local notes = require("moonlb.announcer.notes")
local pace = require("moonlb.announcer.pace")
local peers = require("moonlb.announcer.peers")
local placement = require("moonlb.announcer.placement")
local preprobe = require("moonlb.announcer.preprobe")
local request = require("moonlb.announcer.request")
local report = require("moonlb.announcer.report")
local rivals = require("moonlb.announcer.rivals")
local runtime = require("moonlb.core.runtime")
local slices = require("moonlb.announcer.slices")
local upnp = require("moonlb.announcer.upnp")
local vip = require("moonlb.announcer.vip")
local wire = require("moonlb.announcer.wire")
local writer = require("moonlb.announcer.writer")
local workqueue = require("moonlb.kube.workqueue")

local announcer = {}

local Announcer = { __name = "moonlb.announcer" }
Announcer.__index = Announcer
for name, method in pairs(report) do Announcer[name] = method end

-- The pulse thread goes mute when the loop was silent for 2 s.
local HEARTBEAT = 0.5
-- Seconds between two looks whether the neighbours have been told, and for which the API waits at most.
local WRITE_LOOK, WRITE_WAIT = 0.02, 1
-- So many groups that change hands at once are a takeover worth hurrying for.
local MANY = 100

local function claim_of(service)
  local text = type(service.metadata.annotations) == "table" and service.metadata.annotations["moonlb.io/claim"]
  return text and placement.parse_claim(text) or nil
end

-- The wire's parts; a test brings its own. nil, message, code when the node lacks something.
local function open_wire(self, options)
  local parts = options.parts or announcer.real_parts(options.settings)
  local netlink, message, code = parts.open_netlink()
  if not netlink then return nil, message, code end
  self.pulse, message, code = parts.start_pulse(function(event) self:on_pulse(event) end)
  if not self.pulse then return nil, message, code end
  self.host, message, code = host.open({ netlink = netlink, after = async.timer, settings_file = parts.settings_file,
    on_change = function() self:on_network() end, on_removed = function(ip) self:on_removed(ip) end })
  if not self.host then return nil, message, code end
  self.wire = wire.new({ host = self.host, pulse = self.pulse, arp = parts.arp, ndp = parts.ndp,
    now = runtime.boottime, random = math.random, after = self.pace.after, timer = async.timer,
    on_attach = function(index) self.placement:attached(index) end })
  return true
end

--- The parts that touch the node: netlink, the pulse thread, the codecs' senders.
-- @tparam table settings  `state_dir`
function announcer.real_parts(settings)
  local uv = require("luv")
  local namespace = (uv.fs_readlink("/proc/self/ns/net") or ""):match("%d+")
  local folder = settings.state_dir or "/run/moonlb"
  uv.fs_mkdir(folder, 493)	-- 0755; that it exists, or cannot, shows when it is written to
  return {
    open_netlink = require("moonlb.core.netlink").open,
    start_pulse = function(on_event)
      return require("moonlb.core.pulse").start({ on_event = on_event })
    end,
    arp = require("moonlb.core.arp"), ndp = require("moonlb.core.ndp"),
    settings_file = namespace and ("%s/arp-%s.json"):format(folder, namespace),
  }
end

--- An announcer that has looked at the node, and holds nothing yet.
-- @tparam table options  `client`, `services` (informer), `node` (name), `events` (recorder), `settings` (see
--   lua/README.md), `parts` (see announcer.real_parts; for tests)
-- @treturn Announcer  or nil, message, code: what the node lacks
function announcer.new(options)
  local self = setmetatable({
    client = options.client, services = options.services, node = assert(options.node), events = options.events,
    settings = options.settings, groups = groups.new(), requests = {}, group_ids = {}, vips = {}, complaints = {},
    changes = {}, failovers = 0, probes = { free = 0, taken = 0, given_up = 0 },
    excluded_listeners = {}, noted_owners = {}, interface_names = {}, unplaced = {}, unwritten = {},
    released = {}, signatures = {},
    pace = pace.new({ timer = async.timer, now = runtime.boottime }),
  }, Announcer)
  for _, name in ipairs({ "interface", "services_interface" }) do
    if self.settings[name] then self.interface_names[self.settings[name]] = true end
  end
  self.collector = collector.new({ timer = async.timer, now = runtime.boottime,
    is_busy = function() return self.pace:backlog() > 0 or self.wire:is_behind() end })
  self.placement = placement.new({ node = self.node, now = runtime.boottime, after = async.timer,
    is_alone = not self.settings.heartbeat, on_change = function(key) self:on_ownership(key) end,
    on_rival = function(key) self:insist(key) end })
  self.peers = peers.new(self)
  self.moving = moving.new(self)
  self.rivals = rivals.new({ node = self.node, now = runtime.boottime,
    tell = function(key, message) self:tell({ key }, "Warning", "AnnouncerConflict", message) end })
  local ok, message, code = open_wire(self, options)
  if not ok then return nil, message, code end
  self.preprobe = preprobe.new({ io = self.wire, now = runtime.boottime, timer = async.timer,
    link_of = function(ip) return interface.of_subnet(self.host.view, ip) end,
    is_in_use = function(ip) return self.vips[ip] ~= nil end,
    on_taken = function() self:tell_excluded() end })
  self.upnp = upnp.new(self)
  self.dhcp = dhcp.new(self)
  self.writer = writer.new(self)
  self.queue = workqueue.new({ reconcile = function(key) return self.writer:write(key) end, workers = 16 })
  self.slices = slices.new({ client = self.client, index = endpoints.new(),
    on_change = function(key) self:place_soon(key) end })
  return self
end

--- Begin: follow the Services, and when they are known take from lo what a crash left. Inside a coroutine.
-- @treturn boolean  true; or nil, message, code when it was stopped before
function Announcer:start()
  self.heartbeat = self:every(HEARTBEAT, function() self.pulse:alive() end)
  self.services:on(function(key, new, old)
    self.preprobe:on_service(new, old)
    self:on_service(key)
  end)
  for key in self.services:each() do self:on_service(key) end
  local ok, message, code = self.services:wait_synced()
  if not ok or self.is_stopping then return nil, message or "stopped", code or "ECANCELED" end
  local swept = self.host:sweep(function(ip)
    return self.groups:services_of(ip)[1] ~= nil or self.dhcp:is_recorded(ip)
  end)
  self.dhcp:sweep()
  self.upnp:start(swept)
  self.is_swept = true
  if self.settings.heartbeat then self.peers:start() end
  log.info("announcer started", { node = self.node, swept = #swept, services = self.services.count })
  return true
end

-- A timer that comes again until the announcer stops.
function Announcer:every(seconds, fn)
  local function tick()
    if self.is_stopping then return end
    fn()
    self.heartbeat = async.timer(seconds, tick)
  end
  tick()
  return self.heartbeat
end

--- Take everything off the node: others take over, then silent, then off lo, then ARP settings as they were. Status
-- stays: kube-proxy would drop its rules. Inside a coroutine when there may be other nodes.
function Announcer:stop()
  if self.is_leaving then return end
  self.is_leaving = true
  if async.running() then self.peers:leave() end
  self.upnp:stop()
  self.is_stopping = true
  self.peers:stop()
  self.moving:stop()
  self.heartbeat:stop()
  self.queue:stop()
  self.slices:stop()
  for _, it in pairs(self.vips) do it:release(0) end
  self.dhcp:close()
  self.preprobe:want({})
  self.wire:close()
  self.host:sweep(function() return not self.is_swept end)
  self.host:close()
  self.pulse:close()
end

-- All of a Service that placing looks at, as text. What this node wrote into status and claim is not among it.
function Announcer:signature(service, wanted)
  if not wanted then return nil end
  local claim = claim_of(service)
  return table.concat({ table.concat(wanted.addresses, ","), wanted.wishes or "", wanted.interface or "",
    tostring(wanted.is_local),
    service.metadata.uid, claim and claim.node ~= self.node and claim.term .. " " .. claim.node or "",
    moving.wishes(service) }, "|")
end

-- What the informer says of one Service.
function Announcer:on_service(key)
  if self.is_stopping then return end
  local service = self.services:get(key)
  local wanted = request.of(service)
  local signature = self:signature(service, wanted)
  if not signature or signature ~= self.signatures[key] then
    self.signatures[key] = signature
    self:change_request(key, service, wanted)
  end
  self.upnp:on_service(key)
  self.rivals:saw(key, service)
  self.queue:add(key)
end

-- The Service asks for something else than before.
function Announcer:change_request(key, service, wanted)
  local before = self.groups:of(key)
  self.requests[key] = wanted
  if wanted and wanted.is_dhcp then wanted.addresses = { self.dhcp:leased(key) } end
  self:set_group(key, service, wanted)
  self:end_lease(key)
  if wanted and wanted.is_local or self.settings.withdraw_without_endpoints then self.slices:start() end
  self:leave_group(key, before)
  self:place_soon(key)
  if not service then self.complaints[key] = nil end
end

function Announcer:set_group(key, service, wanted)
  self.groups:set(key, wanted and { uid = service.metadata.uid, created = service.metadata.creationTimestamp or "",
    addresses = wanted.addresses })
end

-- A Service that wants no lease (any more) gives its own back, once the router's ports do not lead to it.
function Announcer:end_lease(key)
  local ip = self.dhcp:leased(key)
  local function finish()
    local wanted = self.requests[key]
    if not wanted or not wanted.is_dhcp then self.dhcp:forget(key) end
  end
  local wanted = self.requests[key]
  if not ip or wanted and wanted.is_dhcp then return finish() end
  self.upnp:before_release(ip, finish)
end

--- The lease of a Service began or ended: from here on it is a Service with that address, or with none.
function Announcer:set_leased(key)
  local service, wanted = self.services:get(key), self.requests[key]
  if not service or not wanted or not wanted.is_dhcp or self.is_stopping then return end
  wanted.addresses = { self.dhcp:leased(key) }
  self:set_group(key, service, wanted)
  self.upnp:on_service(key)
  self.queue:add(key)
end

-- The Service's former group: others in it may now be alone, addresses in it may be nobody's.
function Announcer:leave_group(key, before)
  if not before then return end
  for _, ip in ipairs(before.addresses) do
    if not self.groups:services_of(ip)[1] then self.upnp:before_release(ip, function() self:give_up(ip) end) end
  end
  for _, other in ipairs(before.services) do
    if other ~= key then self:place_soon(other) end
  end
  local now = self.groups:of(key) or self.groups:of(before.services[1] ~= key and before.services[1] or "")
  if not now or now.id ~= before.id then
    self.placement:remove(before.id)
    self.noted_owners[before.id] = nil
    self.moving:forget(before.id)
  end
end

--- Nobody wants the address any more, unless somebody does again: off the node with it.
function Announcer:give_up(ip)
  if not self.groups:services_of(ip)[1] and self.vips[ip] then self.vips[ip]:release(0) end
end

--- Hold an address that no Service has, for a moment: probed first, then given up by give_up().
-- @treturn Vip|nil  nil when this node cannot, or a Service has it
function Announcer:borrow(ip)
  local link = not self.vips[ip] and self:find_interface(ip, {})
  if not link then return nil end
  local it = self:new_vip(ip)
  it.keys = {}
  it:serve(link, false)
  return it
end

-- Why this node must not serve the group, whatever its interfaces say.
function Announcer:group_trouble(group)
  if self.released[group.id] then return ("given up on node %s by hand, for a minute"):format(self.node) end
  for _, key in ipairs(group.services) do
    local wanted = self.requests[key]
    if wanted.is_local or self.settings.withdraw_without_endpoints then
      if not self.slices.is_synced then return "EndpointSlices are not read yet" end
      local here, all = self.slices.index:count(key, self.node)
      local is_empty = all == 0 and key .. " has no ready endpoint" or nil
      self:complain({ key }, "endpoints", "NoEndpoints", is_empty)
      if is_empty then return is_empty end
      if wanted.is_local and here == 0 then
        return ("externalTrafficPolicy Local, and %s has no ready endpoint on node %s"):format(key, self.node)
      end
    end
  end
  return nil
end

-- The interface for an address, or nil, the reason, and the Event's reason where people have to act.
function Announcer:find_interface(ip, keys)
  local own, is_alone = interface.host_owner(self.host.view, ip)
  if own then
    return nil, ("%s is the address of %s on node %s itself%s"):format(ip, own, self.node, is_alone
      and "; as a single address, it looks like another announcer's (kube-vip puts addresses there)" or ""),
      "AddressConflict"
  end
  local annotation
  for _, key in ipairs(keys) do annotation = annotation or self.requests[key].interface end
  if annotation and not self.interface_names[annotation] then
    self.interface_names[annotation], self.fingerprint = true, nil	-- the last one did not look at that link
  end
  local link, message, code = interface.choose(self.host.view, ip, annotation, self.settings)
  if not link then return nil, message, code end
  local trouble = interface.trouble(link)
  if trouble then return nil, trouble end
  return link
end

-- Is the address known to be ours, by the claim that the API remembers, or since another node held it before?
function Announcer:is_known(ip, keys, claim)
  if claim.term > 1 or self.preprobe:is_news(ip) then return true end
  for _, key in ipairs(keys) do
    local service = self.services:get(key)
    if service and claim_of(service) and writer.in_status(service)[ip] then return true end
  end
  return false
end

-- The highest claim that the API remembers of the group's Services.
function Announcer:record(group)
  local highest
  for _, key in ipairs(group.services) do
    local service = self.services:get(key)
    local claim = service and claim_of(service)
    if claim and (not highest or claim.term > highest.term) then highest = claim end
  end
  return highest
end

-- What is announced goes into the Service. While neighbours have not heard of addresses that this node takes over, the
-- API waits: they are cut off, its readers are not.
function Announcer:write_soon(key)
  if not next(self.unwritten) then
    if not self.wire:is_behind() then return self.queue:add(key) end
    self.unwritten_since = runtime.boottime()
    local function look()
      if self.is_stopping then return end
      if self.wire:is_behind() and runtime.boottime() - self.unwritten_since < WRITE_WAIT then
        return async.timer(WRITE_LOOK, look)
      end
      local keys = self.unwritten
      self.unwritten = {}
      for waiting in pairs(keys) do self.queue:add(waiting) end
    end
    async.timer(WRITE_LOOK, look)
  end
  self.unwritten[key] = true
end

-- place() in this turn of the loop if there is time, once for many reasons.
function Announcer:place_soon(key)
  if self.unplaced[key] then return end
  self.unplaced[key] = true
  self.pace.soon(function()
    self.unplaced[key] = nil
    self:place(key)
  end)
end

-- Placement decided about the group. While the pulse waits for what is no longer ours, nothing is put off.
function Announcer:on_ownership(key)
  if self.pace:backlog() > MANY then self.collector:postpone() end
  if self.is_hurried then self:place(key) else self:place_soon(key) end
  -- The claim may be another though this node goes on as before: outbid, it took the group again at once.
  local group = self.groups:of(key)
  for _, service in ipairs(group and group.services or {}) do self:write_soon(service) end
end

-- Another node announced what this one holds: neighbours may have believed it.
function Announcer:insist(key)
  local group = self.groups:of(key)
  for _, ip in ipairs(group and group.addresses or {}) do
    if self.vips[ip] then self.vips[ip]:insist() end
  end
end

-- The interface of the group's first address that has one: the group belongs to its segment.
local function first_link(group, choices)
  for _, ip in ipairs(group.addresses) do
    if choices[ip].link then return choices[ip].link end
  end
  return nil
end

--- Decide anew for the group that `key` is in, and let its VIPs act. Never waits.
function Announcer:place(key)
  local group = self.groups:of(key)
  if not group or self.is_stopping then return end
  if self.requests[key].is_dhcp then return self:place_lease(key, group) end
  local choices, can_any, why_not = {}, false, nil
  for _, ip in ipairs(group.addresses) do
    local keys = self.groups:services_of(ip)
    local link, reason, event = self:find_interface(ip, keys)
    choices[ip] = { link = link, reason = reason, keys = keys }
    self:complain(keys, ip, event, event and reason)
    can_any, why_not = can_any or link ~= nil, why_not or reason
  end
  local trouble = self:group_trouble(group) or (not can_any and why_not or nil)
  local is_mine, claim, why = self:decide(key, group, first_link(group, choices), trouble)
  for ip, choice in pairs(choices) do self:act(ip, choice, is_mine and claim, why) end
end

-- Whose is the group? `link` is where it would be served, `trouble` why it cannot be here.
-- -> is_mine, claim, and why it is not this node's
function Announcer:decide(key, group, link, trouble)
  self.placement:update({ id = group.id, key = key, record = self:record(group), trouble = trouble,
    interface = link, place = self.moving:ranking(group) })
  local is_mine, claim, why, is_failure = self.placement:owner(group.id)
  self:complain(group.services, "segment", "AnnounceFailed", is_failure and why or nil)
  notes.owner(self.noted_owners, group, is_mine, claim)
  self.moving:look(group, is_mine)
  if is_mine then return true, claim end
  return false, claim, trouble or why or self:whose(claim)
end

-- Of a group that is not served here. Our own claim says so after a pause: others may have taken over meanwhile.
function Announcer:whose(claim)
  if not claim then return "no node has claimed it yet" end
  if claim.node == self.node then return "this node paused, or could not hear: it listens before it goes on" end
  return "held by node " .. claim.node
end

-- The same for a Service whose address the LAN's DHCP server gives: it is a group of its own.
function Announcer:place_lease(key, group)
  local any = dhcp.ANY[self.requests[key].family]
  local link, reason, event = self:find_interface(any, { key })
  self:complain({ key }, any, event, event and reason)
  local is_mine, claim, why = self:decide(key, group, link, self:group_trouble(group) or reason)
  local is_others = not is_mine and claim ~= nil and claim.node ~= self.node
  self.dhcp:place(key, is_mine and link or nil, why, is_others)
end

-- One address: serve it here by that claim (nil: it is not this node's), or say why not.
function Announcer:act(ip, choice, claim, why_not)
  local it = self.vips[ip] or self:new_vip(ip)
  it.keys = choice.keys
  if not claim or not choice.link then
    it:wait(why_not or choice.reason)
  else
    it:serve(choice.link, self:is_known(ip, choice.keys, claim))
  end
end

-- `arp_rate`: announce again each so many seconds; nil: as the settings say.
function Announcer:new_vip(ip, arp_rate)
  local it = vip.new(self.wire, { address = ip, family = ip:find(":", 1, true) and 6 or 4,
    probe = self.settings.probe or "fast", arp_rate = arp_rate or self.settings.arp_rate,
    on_change = function(changed, old) self:on_vip(changed, old) end,
    on_event = function(changed, type, reason, message) self:tell(changed.keys, type, reason, message) end })
  self.vips[ip] = it
  return it
end

-- A VIP changed its state: status may have to say so.
function Announcer:on_vip(it, old)
  self:count_change(it, old)
  local was_answering = old == "announcing" or old == "held"
  if was_answering and (it.state == "wanted" or it.state == "releasing") then
    self:tell(it.keys, "Warning", "Withdrawn", ("%s: %s"):format(it.address, it.reason or "withdrawn"))
  end
  notes.vip(it, old)
  self.writer:on_vip(it)
  self.upnp:on_vip(it, old)
  self.dhcp:on_vip(it)
  if it.state == "gone" and self.vips[it.address] == it then self.vips[it.address] = nil end
  if self.is_stopping then return end
  for _, key in ipairs(it.keys or {}) do self:write_soon(key) end
end

function Announcer:on_pulse(event)
  if self.is_stopping or self.peers:on_pulse(event) then return end
  if event.type == "conflict" then
    notes.conflict(event)
    self.preprobe:heard(event)
    local it = self.vips[event.address]
    if it then it:heard(event) end
    self.dhcp:heard(event)
  elseif event.type == "interface_error" then
    if event.code == "ENODEV" then self.wire:interface_gone(event.index) end
  elseif event.type == "mute" then
    log.warn("the pulse thread went mute: nothing is answered", { reason = event.reason })
    notes.pulse(self.node, true, event.reason)
    self.is_hurried = true
    self.placement:slept()	-- others may have taken over: what this node held is dropped
    self.is_hurried = false
    self.dhcp:slept()
    self.wire:flush()
    self.pulse:acknowledge()
  elseif event.type == "unmute" then
    log.info("the pulse thread answers again")
    notes.pulse(self.node, false)
  end
end

-- Somebody took a held address off: put it back at once.
function Announcer:on_removed(ip)
  local it = self.vips[ip]
  if not it or not it.is_accepted or self.is_stopping then return end
  if not self.host.view.links[it.interface.index] then return end
  local ok, message = self.host:accept(ip, it.interface.index)
  if not ok then log.error("cannot put an address back", { address = ip, error = message }) end
end

-- Links, addresses or routes changed: if that may matter, every group is looked at again.
function Announcer:on_network()
  if self.is_stopping then return end
  self.wire:links_changed()
  self.peers:links_changed()
  self.upnp:on_network()
  self.dhcp:links_changed()
  local fingerprint = interface.fingerprint(self.host.view, self.interface_names)
  if fingerprint == self.fingerprint then return end
  self.fingerprint = fingerprint
  self:tell_excluded()
  for key in pairs(self.requests) do self:place_soon(key) end
end

return announcer
