--- DHCP Services of this node: one life each (moonlb.announcer.dhcp.life), and what they share: the cluster's identity,
-- the kernel's silence, the interfaces that an earlier run left.
-- @module moonlb.announcer.dhcp
local async = require("moonlb.async")
local core = require("moonlb.core.dhcp")
local core6 = require("moonlb.core.dhcp6")
local identity = require("moonlb.announcer.identity")
local interface = require("moonlb.announcer.interface")
local life = require("moonlb.announcer.dhcp.life")
local log = require("moonlb.core.log")
local macvlan = require("moonlb.announcer.dhcp.macvlan")
local packet = require("moonlb.core.packet")
local record = require("moonlb.announcer.dhcp.record")
local runtime = require("moonlb.core.runtime")
local status = require("moonlb.announcer.status")
local uv = require("luv")

local dhcp = {}

local Dhcp = { __name = "moonlb.announcer.dhcp" }
Dhcp.__index = Dhcp

--- What a Service has instead of an address while it waits for one, by family.
dhcp.ANY = { [4] = "0.0.0.0", [6] = "::" }

local CLIENT_PORT = 68
-- Nobody reads it: as little as the kernel allows is kept.
local BUFFER = 1

-- A UDP socket on the leased address, so that the kernel does not call the port unreachable when a server answers by
-- unicast; the frames themselves come by AF_PACKET. It may fail (another client's socket, no CAP_NET_BIND_SERVICE):
-- then the server hears of an unreachable port, which it does not heed.
local function hold_port(ip)
  local socket = uv.new_udp()
  local ok, message = socket:bind(ip, CLIENT_PORT)
  if ok then
    uv.recv_buffer_size(socket, BUFFER)
    return socket
  end
  log.debug("port 68 is not held", { address = ip, error = message })
  socket:close()
  return nil
end

--- The parts of the lives that touch the node.
-- @tparam Announcer owner
-- @tparam number family  4 or 6
function dhcp.real_io(owner, family)
  local io = { family = family, any = dhcp.ANY[family],
    now = runtime.boottime, wall = runtime.walltime, after = owner.pace.after,
    seed = function() return (string.unpack("i8", uv.random(8))) end,
    open = packet.dhcp_socket, client = core.client, hold = hold_port, source = function() return nil end,
    netlink = owner.host.netlink, host = owner.host, wire = owner.wire,
  }
  if family == 6 then	-- servers answer to the link-local address, which nothing on this node has
    io.open, io.client, io.source = packet.dhcp6_socket, core6.client, core6.link_local
    io.hold = function() return nil end
  end
  return io
end

--- None yet.
-- @tparam Announcer owner  moonlb.announcer: its Services, host, wire, VIPs, Events and queue are used
function dhcp.new(owner)
  return setmetatable({ owner = owner, ios = { [4] = dhcp.real_io(owner, 4), [6] = dhcp.real_io(owner, 6) },
    lives = {}, results = {},
    past = { sent = {}, received = {}, bad = 0 }, identity = owner.settings.identity }, Dhcp)
end

-- Whose an address is on this node, other than the Service's; nil: nobody's.
local function owner_of(owner, ip, key)
  local name = interface.host_owner(owner.host.view, ip)
  if name then return ("the address of %s on node %s itself"):format(name, owner.node) end
  local others = owner.groups:services_of(ip)
  local it = owner.vips[ip]
  if it and it.keys[1] ~= key then others = it.keys end
  return others[1] and others[1] ~= key and "that of Service " .. others[1] or nil
end

-- Count what a client sent and heard.
local function add_messages(total, stats)
  for _, way in ipairs({ "sent", "received" }) do
    for type, count in pairs(stats[way]) do total[way][type] = (total[way][type] or 0) + count end
  end
  total.bad = total.bad + stats.bad
end

local function new_life(self, key, family)
  local owner = self.owner
  local facade = { probe = owner.settings.probe or "fast", arp_rate = owner.settings.arp_rate,
    service = function() return owner.services:get(key) end,
    identity = function() return self.identity end,
    owner_of = function(ip) return owner_of(owner, ip, key) end,
    refuse = function(ip) if not owner.vips[ip] then owner.host:refuse(ip) end end,
    tell = function(type, reason, message) owner:tell({ key }, type, reason, message) end,
    changed = function() owner:set_leased(key) end,
    retire = function(stats) add_messages(self.past, stats) end,
    count = function(result) self.results[result] = (self.results[result] or 0) + 1 end }
  function facade.new_vip(ip, arp_rate)
    local whose = facade.owner_of(ip)
    if whose then return nil, whose end
    local it = owner.vips[ip] or owner:new_vip(ip, arp_rate)
    it.keys = { key }
    return it
  end
  return life.new(self.ios[family], facade, key)
end

-- The cluster's identity, without which no two nodes would be the same client.
local function find_identity(self)
  if self.identity then return true end
  if self.task then return false end
  self.task = async.run(function()
    local found, why = identity.find(self.owner.client, function() return self.is_closed end, function(message)
      log.warn("DHCP waits for the cluster's identity", { error = message })
    end)
    if not found or self.is_closed then return end
    if why then
      log.warn("the cluster's identity may not be read: two clusters on one LAN would be the same DHCP clients where "
        .. "Services have the same names; allow `get` of namespace kube-system, or set --identity", { error = why })
    end
    self.identity = found
    for key in pairs(self.lives) do self.owner:place_soon(key) end
  end)
  self.task.name = "identity for DHCP"
  return false
end

--- Placement has decided about a DHCP Service: this node has the lease (`link` is where), or why it has not.
-- @tparam string key  namespace/name
-- @tparam table|nil link  the interface, when it is this node's
-- @tparam string|nil why  when it is not
-- @tparam boolean is_others  another node has it
function Dhcp:place(key, link, why, is_others)
  local family = self.owner.requests[key].family
  if self.lives[key] and self.lives[key].io.family ~= family then self:forget(key) end
  local it = self.lives[key] or new_life(self, key, family)
  self.lives[key] = it
  if not link then return it:yield(why, is_others) end
  if not find_identity(self) then return end
  if it.phase ~= "serving" then
    it.parent = link
    local ok, message = self.owner.host:silence_kernel(link.index)
    if not ok then
      log.warn("the kernel may answer for leased addresses", { interface = link.name, error = message })
    end
  end
  it:serve(link)
end

--- The Service is gone, or wants no lease any more.
function Dhcp:forget(key)
  local it = self.lives[key]
  if not it then return end
  self.lives[key] = nil
  it:release()
end

--- The Services are known: macvlans that none of them wants go. What is wanted stays as it is.
function Dhcp:sweep()
  macvlan.sweep(self.owner.host.netlink, self.owner.host.view.links, function(key)
    local request = self.owner.requests[key]
    return request ~= nil and request.is_dhcp
  end)
end

--- Is it the leased address of a Service that wants one?
function Dhcp:is_recorded(ip)
  for key, request in pairs(self.owner.requests) do
    local service = request.is_dhcp and self.owner.services:get(key)
    local annotations = service and service.metadata.annotations
    local it = type(annotations) == "table" and record.parse(annotations[record.ANNOTATION])
    if it and it.address == ip then return true end
  end
  return false
end

--- A pulse event about an address that no VIP has, or that is being probed.
function Dhcp:heard(event)
  for _, it in pairs(self.lives) do it:heard(event) end
end

--- A VIP changed its state.
function Dhcp:on_vip(it)
  local its = it.keys and self.lives[it.keys[1]]
  if its then its:on_vip(it) end
end

--- The node's links or addresses changed.
function Dhcp:links_changed()
  if not next(self.lives) then return end
  for _, it in pairs(self.lives) do it:links_changed(self.owner.host.view.links) end
end

--- The node slept: deadlines may be over.
function Dhcp:slept()
  for _, it in pairs(self.lives) do
    if it.session then it.session:look() end
  end
end

--- The leased address that this node serves for a Service, or nil.
function Dhcp:leased(key)
  local it = self.lives[key]
  return it and it.vip and it.vip.address
end

--- What the Service's status and annotation are to say; see Life:shown.
function Dhcp:shown(key)
  local it = self.lives[key]
  if not it then return nil end
  return it:shown()
end

--- The Service says what `service` says.
function Dhcp:written(key, service)
  local it = self.lives[key]
  if it then it:written(status.addresses(service)) end
end

--- Every lease that this node has or asks for, ordered by Service. Times are seconds of CLOCK_BOOTTIME.
-- @treturn table  array of `{service=, address=|nil, server=|nil, since=|nil, t1=|nil, t2=|nil, expires=|nil, state=,
--   interface=, mac=}`; `state` is the client's (core.dhcp), nil while there is none
function Dhcp:list()
  local list = {}
  for _, it in pairs(self.lives) do list[#list + 1] = it:describe() end
  table.sort(list, function(a, b) return a.service < b.service end)
  return list
end

--- For the metrics, since the start.
-- @treturn table  `{results={bound=, renewed=, changed=, nak=, expired=, declined=}, sent={discover=...},
--   received={offer=...}, bad=}`
function Dhcp:stats()
  local total = { results = self.results, sent = {}, received = {}, bad = 0 }
  add_messages(total, self.past)
  for _, it in pairs(self.lives) do
    if it.session then add_messages(total, it.session.client:stats()) end
  end
  return total
end

--- moonlb stops: nothing of it stays on the node, the leases stay with the server.
function Dhcp:close()
  self.is_closed = true
  if self.task then self.task:cancel() end
  for _, it in pairs(self.lives) do it:close() end
end

return dhcp
