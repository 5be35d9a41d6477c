--- Ports on the home router: which there should be, for the addresses that this node holds, and what people are told.
-- One mapping is a task (`mapping`), one router is a task (`gateway`); here is what both are about.
-- @module moonlb.announcer.upnp
local address = require("moonlb.core.address")
local async = require("moonlb.async")
local gateway = require("moonlb.announcer.upnp.gateway")
local leftovers = require("moonlb.announcer.upnp.leftovers")
local log = require("moonlb.core.log")
local mapping = require("moonlb.announcer.upnp.mapping")
local record = require("moonlb.announcer.upnp.record")
local runtime = require("moonlb.core.runtime")
local wanted = require("moonlb.announcer.upnp.wanted")

local upnp = {}

local Upnp = { __name = "moonlb.announcer.upnp" }
Upnp.__index = Upnp

--- Seconds that an address stays answered for, at most, so that its mappings can be taken back: in secure mode a
-- gateway lets only the address itself do that.
upnp.FAREWELL = 0.8

local LEASE = 3600
-- The address of a DHCP Service may be another client's when its lease is over: the mapping ends by itself before.
local DHCP_LEASE = 600
local MAIN_TABLE = 254

--- @tparam Announcer owner  moonlb.announcer: its VIPs, groups, Services, view of the network and Events are used
-- @treturn Upnp  one that maps nothing, when the settings do not ask for it
function upnp.new(owner)
  local settings = owner.settings
  local self = setmetatable({ owner = owner, mode = wanted.mode(settings), lease = settings.upnp_lease or LEASE,
    any_port = settings.upnp_any_port, mappings = {}, by_address = {}, gateways = {}, leaving = {}, addresses = {},
    said = {}, unrouted = {} }, Upnp)
  self.leftovers = leftovers.new(self)
  return self
end

--- The Services are known: say what is opened, and look for what a crash left.
-- @tparam table strays  array of addresses that were on this node and that no Service has
function Upnp:start(strays)
  if not self.mode then return end
  self:warn()
  self.leftovers:start(strays)
end

-- Which address of this node is on the router's segment?
local function own_address(view, index, router)
  for _, entry in ipairs(view.addresses) do
    if entry.index == index and entry.family == 4
        and address.in_subnet(router, address.mask(entry.address, entry.prefix), entry.prefix) then
      return entry.address
    end
  end
  return nil
end

-- The VIP's interface as the node's view has it: its kind and the one below it, too.
function Upnp:link_of(it)
  return self.owner.host.view.links[it.interface.index] or it.interface
end

--- The default route of a VIP's interface, whatever other ways the node has.
-- @tparam table routes  as core.netlink has them
-- @tparam table link  `index`, and for a macvlan `parent`
-- @treturn table|nil  the route of the lowest metric
function upnp.route_of(routes, link)
  local best
  for _, route in ipairs(routes) do
    local is_default = (route.prefix or 0) == 0 and route.gateway and route.table == MAIN_TABLE
    if is_default and (route.index == link.index or route.index == link.parent)
        and (not best or (route.metric or 0) < (best.metric or 0)) then
      best = route
    end
  end
  return best
end

local function router_on(self, link, family)
  return upnp.route_of(self.owner.host.netlink:routes(family) or {}, link)
end

-- The router by IPv6, as a URL's host needs it: a link-local address is of one interface.
local function router6_on(self, link)
  local route = router_on(self, link, 6)
  if not route then return nil end
  return route.gateway:find("^fe[89ab]") and route.gateway .. "%" .. link.name or route.gateway
end

-- Where the router of a VIP is: `{id=, router=, own=, link=}`, or nil and why there is none.
function Upnp:place_of(it)
  local route = router_on(self, self:link_of(it), 4)
  if not route then return nil, ("interface %s has no default route: no router to ask"):format(it.interface.name) end
  local own = own_address(self.owner.host.view, route.index, route.gateway)
  if not own then
    return nil, ("this node has no address beside the router %s on %s"):format(route.gateway, it.interface.name)
  end
  return { id = ("%d %s %s"):format(route.index, route.gateway, own), router = route.gateway, own = own,
    link = self.owner.host.view.links[route.index] }
end

--- The gateway that leads to a VIP: found before, or looked for from now on.
-- @tparam table it  a VIP, or what has its `interface`
-- @treturn Gateway  or nil and why there is none
function Upnp:gateway_for(it)
  local place, why = self:place_of(it)
  if not place then return nil, why end
  local known, link = self.gateways[place.id], place.link
  if known then return known end
  known = gateway.new({ router = place.router, own = place.own, interface = link.name,
    router6 = function() return router6_on(self, link) end,
    sample = function() return self:sample(known) end,
    on_change = function(changed, is_anew) self:on_gateway(changed, is_anew) end })
  known.id = place.id
  self.gateways[place.id] = known
  return known
end

-- A mapping that should be on that gateway: another one each time.
function Upnp:sample(at)
  local first, nextone
  for _, it in pairs(self.mappings) do
    if it.gateway == at and it.state == "mapped" and it.family == 4 then
      first = first or it
      if at.sampled == nil then nextone = nextone or it end
      if at.sampled == it then at.sampled = nil end
    end
  end
  at.sampled = nextone or first
  return at.sampled
end

function Upnp:on_gateway(changed, is_anew)
  for _, it in pairs(self.mappings) do
    if it.gateway == changed then
      if is_anew or not changed.driver then it:look() end
      self:tell(it)
    end
  end
  if is_anew then self.leftovers:look(changed) end
end

-- What is to be open at one address: key -> `{protocol=, port=, external_port=, service=, uid=}`.
function Upnp:specs_of(ip)
  local specs = {}
  if not self.mode or self.leaving[ip] or self.is_stopping then return specs end
  for _, key in ipairs(self.owner.groups:services_of(ip)) do
    local service = self.owner.services:get(key)
    for _, port in ipairs(service and wanted.of(service, self.mode) or {}) do
      port.service, port.uid = key, service.metadata.uid
      if ip:find(":", 1, true) then port.external_port = port.port end	-- a pinhole translates nothing
      specs[("%s %s %d"):format(ip, port.protocol, port.port)] = port
    end
  end
  return specs
end

-- The mappings of one address: a copy, which may be walked through while they come and go.
function Upnp:at(ip)
  local list = {}
  for key, it in pairs(self.by_address[ip] or {}) do list[key] = it end
  return list
end

local function is_same(it, spec, at)
  return it.wish == spec.external_port and it.uid == spec.uid and it.gateway == at
end

function Upnp:begin(key, ip, spec, at)
  local it = self.owner.vips[ip]
  local is_dhcp = self:link_of(it).kind == "macvlan"
  local made = mapping.new({ address = ip, family = it.family, protocol = spec.protocol, port = spec.port,
    external_port = spec.external_port, service = spec.service, uid = spec.uid, gateway = at, any_port = self.any_port,
    lease = is_dhcp and math.min(self.lease, DHCP_LEASE) or self.lease,
    name_of = function(uid) return self:name_of(uid) end,
    on_change = function(changed) self:tell(changed) end,
    on_gone = function(gone) self:on_gone(key, gone) end })
  self.by_address[ip] = self.by_address[ip] or {}
  self.mappings[key], self.by_address[ip][key] = made, made
end

--- Bring the mappings of one address in line with what is so. Never waits.
function Upnp:sync(ip)
  local it = self.owner.vips[ip]
  if not it or not it:is_answering() then
    self.unrouted[ip] = nil
    for _, known in pairs(self:at(ip)) do known:abandon() end
    return
  end
  local specs, at, why = self:specs_of(ip), nil, nil
  if next(specs) then at, why = self:gateway_for(it) end
  self.unrouted[ip] = why and { specs = specs, why = why } or nil
  for key, known in pairs(self:at(ip)) do
    if not specs[key] or not is_same(known, specs[key], at) then
      if known.gateway ~= at and not known.gateway.driver then known:abandon() else known:finish() end
    end
  end
  for key, spec in pairs(specs) do
    if not at then
      self:say(spec.service, key, "Warning", "PortMapFailed", ("port %d/%s: %s"):format(spec.port, spec.protocol, why))
    elseif not self.mappings[key] then
      self:begin(key, ip, spec, at)
    end
  end
end

-- The last word of a mapping: its address may go, or another mapping may have waited for it.
function Upnp:on_gone(key, gone)
  local there = self.by_address[gone.address]
  self.mappings[key], there[key] = nil, nil
  if not next(there) then self.by_address[gone.address] = nil end
  if self.leaving[gone.address] and not next(self:at(gone.address)) then return self:release(gone.address) end
  if not self.is_stopping then
    if not next(self:at(gone.address)) and gone.gateway.driver then gone.gateway.driver:forget(gone.address) end
    self:sync(gone.address)
    self:close_unused(gone.gateway)
  end
  self.owner.queue:add(gone.service)
end

--- A gateway is looked after while something is mapped on it, or is about to be.
function Upnp:close_unused(at)
  if self.gateways[at.id] ~= at then return end
  for _, it in pairs(self.mappings) do
    if it.gateway == at then return end
  end
  for ip, it in pairs(self.owner.vips) do
    local place = it:is_answering() and next(self:specs_of(ip)) and self:place_of(it)
    if place and place.id == at.id then return end
  end
  self.gateways[at.id] = nil
  at:close()
end

-- The router has confirmed, or time is up: whoever waited goes on.
function Upnp:release(ip)
  local leaving = self.leaving[ip]
  leaving.timer:stop()
  self.leaving[ip] = nil
  for _, done in ipairs(leaving) do done() end
  if not self.is_stopping then self:sync(ip) end
end

--- The address is to be given up for good: take its mappings back first, for at most FAREWELL seconds.
-- @tparam string ip
-- @tparam function done  called once; at once when there is nothing to take back
function Upnp:before_release(ip, done)
  local leaving = self.leaving[ip]
  if leaving then
    leaving[#leaving + 1] = done
    return
  end
  if not next(self:at(ip)) then return done() end
  leaving = { done }
  leaving.timer = async.timer(upnp.FAREWELL, function() self:release(ip) end)
  self.leaving[ip] = leaving
  for _, it in pairs(self:at(ip)) do it:finish() end
end

--- A VIP changed its state.
function Upnp:on_vip(it, old)
  local was_answering = old == "announcing" or old == "held"
  if was_answering == it:is_answering() or self.is_stopping then return end
  self:sync(it.address)
  if not it:is_answering() then return end
  for _, at in pairs(self.gateways) do self.leftovers:look(at) end
end

--- A Service came, changed, or went.
function Upnp:on_service(key)
  if self.is_stopping then return end
  local group, ips = self.owner.groups:of(key), {}
  local service = self.owner.services:get(key)
  for _, ip in ipairs(self.addresses[key] or {}) do ips[ip] = true end
  self.addresses[key] = group and self.owner.requests[key] and self.owner.requests[key].addresses
  for _, ip in ipairs(self.addresses[key] or {}) do ips[ip] = true end
  for ip in pairs(ips) do self:sync(ip) end
  if not service then
    self.said[key] = nil
  elseif self.mode then
    local _, problems = wanted.of(service, self.mode)
    self:say(key, "annotation", "Warning", "PortMapFailed", problems[1])
  end
end

--- Links, addresses or routes changed: another router may lead to a VIP now, and one that did not answer may.
function Upnp:on_network()
  if not self.mode or self.is_stopping then return end
  local ips = {}
  for _, it in pairs(self.mappings) do ips[it.address] = true end
  for ip in pairs(ips) do self:sync(ip) end
  for _, at in pairs(self.gateways) do
    if not at.driver then at:look() end
  end
end

-- A Service by its UID, for people.
function Upnp:name_of(uid)
  for key, service in self.owner.services:each() do
    if service.metadata.uid == uid then return key end
  end
  return nil
end

-- An Event about one thing, once until it changes; nil: it is over.
function Upnp:say(key, about, type, reason, message)
  local said = self.said[key] or {}
  self.said[key] = said
  if said[about] == message then return end
  said[about] = message
  if message then self.owner:tell({ key }, type, reason, message) end
end

-- What became of a mapping, for the Service's reader.
function Upnp:tell(it)
  if self.is_stopping then return end
  local key = ("%s %s %d"):format(it.address, it.protocol, it.port)
  local at = it.gateway
  local offline = at.driver and not at.is_connected and
    ("the gateway says that it is not connected (%s)"):format(at.status) or nil
  if it.state == "mapped" then
    local entry = self:entry(it)
    local warning = offline or it.family == 4 and record.double_nat(at.outside)
    local text = ("%s, by gateway %s"):format(record.text(entry), at.router)
    if it.external_port ~= it.wish then text = ("%s; port %d was taken"):format(text, it.wish) end
    self:say(it.service, key, warning and "Warning" or "Normal", "PortMapped",
      warning and ("%s. But %s"):format(text, warning) or text)
  elseif it.reason then
    self:say(it.service, key, "Warning", "PortMapFailed", ("port %d/%s: %s%s"):format(it.port, it.protocol, it.reason,
      offline and "; " .. offline or ""))
  end
  self.owner.queue:add(it.service)
end

function Upnp:entry(it)	-- luacheck: ignore self
  return { outside = it.family == 6 and it.address or it.gateway.outside, external_port = it.external_port,
    protocol = it.protocol, port = it.port, address = it.address }
end

--- What the Service is to say of its ports, for the status writer.
-- @treturn string|boolean|nil  the annotation's value; false: none; nil: not known yet, leave it
-- @treturn table|nil  the entries for status with --upnp-status (empty: none); nil: leave them
function Upnp:said_of(key)
  local entries, is_known = {}, true
  for _, ip in ipairs(self.addresses[key] or {}) do
    for _, it in pairs(self.by_address[ip] or {}) do
      if it.service == key then
        if it:is_open() then entries[#entries + 1] = self:entry(it) end
        is_known = is_known and (it.is_mapped or it.reason ~= nil or it.is_over) and true
      end
    end
  end
  if not is_known then return nil, nil end
  local ingress = self.owner.settings.upnp_status and record.ingress(entries) or {}
  return record.format(entries) or false, ingress
end

--- Every mapping of this node, ordered by Service and port, for people and metrics.
-- @treturn table  array of `{service=, address=, port=, protocol=, state=, reason=|nil, since=, outside=|nil,
--   external_port=|nil, lease=|nil (seconds; 0: for ever), expires=|nil (boot time), gateway=|nil (none answers),
--   double_nat=|nil}`
function Upnp:list()
  local list = {}
  for _, it in pairs(self.mappings) do
    list[#list + 1] = { service = it.service, address = it.address, port = it.port, protocol = it.protocol,
      state = it.state, reason = it.reason, since = it.since, outside = it.gateway.outside,
      external_port = it.external_port, lease = it.given_lease, expires = it.expires,
      gateway = it.gateway.driver and it.gateway.router or nil,
      double_nat = it.gateway.driver and record.double_nat(it.gateway.outside) or nil }
  end
  for ip, unrouted in pairs(self.unrouted) do
    for _, spec in pairs(unrouted.specs) do
      list[#list + 1] = { service = spec.service, address = ip, port = spec.port, protocol = spec.protocol,
        state = "waiting", reason = unrouted.why, since = self.owner.vips[ip] and self.owner.vips[ip].since or 0 }
    end
  end
  table.sort(list, function(a, b)
    if a.service ~= b.service then return a.service < b.service end
    if a.port ~= b.port then return a.port < b.port end
    return a.protocol .. a.address < b.protocol .. b.address
  end)
  return list
end

-- Said at start: how much is opened to the internet.
function Upnp:warn()
  if not self.mode then return end
  local services, ports = 0, 0
  for _, service in self.owner.services:each() do
    local list = wanted.of(service, self.mode)
    services, ports = services + (list[1] and 1 or 0), ports + #list
  end
  log.warn("UPnP opens ports to the internet", { services = services, ports = ports,
    which = self.mode == "all" and "every LoadBalancer Service without kube-vip.io/forwardUPNP: \"false\""
      or "Services with kube-vip.io/forwardUPNP: \"true\"" })
end

--- A clean stop: take back what the addresses that are still here have, for at most FAREWELL seconds in a task;
-- outside of one nothing waits.
function Upnp:stop()
  self.is_stopping = true
  local deadline = runtime.boottime() + upnp.FAREWELL
  for _, it in pairs(self.mappings) do it:finish() end
  while async.running() and next(self.mappings) and runtime.boottime() < deadline do async.sleep(0.01) end
  for _, it in pairs(self.mappings) do it:abandon() end
  for _, at in pairs(self.gateways) do at:close() end
end

return upnp
