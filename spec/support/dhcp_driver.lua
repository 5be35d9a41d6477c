--- A DHCP client, of IPv4 or IPv6, on a macvlan of this namespace: the socket, the timer and the address that the core
-- leaves to others, as plainly as can be. Its clock can be set forward, so that T1 and T2 need no waiting.
-- @module spec.support.dhcp_driver
local dhcp4 = require("moonlb.core.dhcp")
local dhcp6 = require("moonlb.core.dhcp6")
local loop = require("spec.support.loop")
local netlink = require("moonlb.core.netlink")
local packet = require("moonlb.core.packet")
local uv = require("luv")

local driver = {}

local Driver = {}
Driver.__index = Driver

local serial = 0

local OWN = { is_free = true, is_manual = true, is_ipv6 = true, pulse = true }

-- The client, what it is called by a server, and its socket.
local function make_client(self, options)
  local core = self.is_ipv6 and dhcp6 or dhcp4
  local open = self.is_ipv6 and packet.dhcp6_socket or packet.dhcp_socket
  local all = { mac = self.mac, seed = serial }
  if self.is_ipv6 then
    all.duid, all.iaid = dhcp6.duid("lab", "default", self.name), dhcp6.iaid("lab", "default", self.name)
  else
    all.client_id = dhcp4.client_id("lab", "default", self.name)
  end
  for field, value in pairs(options) do
    if not OWN[field] then all[field] = value end
  end
  self.client = core.client(all)
  self.socket = assert(open(self.index, function(frame) self:call("receive", frame) end))
end

--- A client for a Service called `name`, on a macvlan over `parent`.
-- @tparam[opt] table options  of the client, and `is_ipv6`; `pulse`, which then answers for the link-local address;
--   `is_free(address)`, which answers a check; `is_manual`: the test does
function driver.new(name, parent, options)
  options = options or {}
  serial = serial + 1
  local link = "dhcp" .. serial
  local mac = dhcp4.mac("lab", "default", name)
  local self = setmetatable({ name = name, number = serial, skew = 0, events = {}, mac = mac, is_free = options.is_free,
    is_manual = options.is_manual, is_ipv6 = options.is_ipv6, timer = uv.new_timer(), nl = assert(netlink.open()) },
    Driver)
  self.index = assert(self.nl:macvlan_add({ parent = parent, name = link, mac = mac, mode = "bridge" }))
  assert(self.nl:set_ipv4_conf(self.index, { arp_ignore = 1, arp_announce = 2 }))
  assert(self.nl:link_set(self.index, { up = true }))
  local source = dhcp6.link_local(mac)	-- servers send to it
  if options.pulse then
    assert(options.pulse:attach(self.index, mac))
    assert(options.pulse:hold(source, self.index))
    assert(options.pulse:publish())
  elseif self.is_ipv6 then
    assert(self.nl:address_add({ index = self.index, address = source, prefix = 64, scope = "link", nodad = true }))
    self.listener = uv.new_udp()
    assert(self.listener:bind(source .. "%" .. link, 546))
  end
  make_client(self, options)
  return self
end

function Driver:now()
  return uv.hrtime() / 1e9 + self.skew
end

function Driver:hold(address)
  if self.address == address then return end
  local prefix = self.is_ipv6 and 128 or 32
  if self.address then
    if self.holder then self.holder:close() end
    self.nl:address_delete({ index = self.index, address = self.address, prefix = prefix })
  end
  self.address = address
  if not address then return end
  assert(self.nl:address_add({ index = self.index, address = address, prefix = prefix, nodad = true }))
  if self.is_ipv6 then return end
  self.holder = uv.new_udp()	-- else the kernel answers a server's unicast with "port unreachable"
  assert(self.holder:bind(address, 68))
end

local does = {}

function does.send(self, action) assert(self.socket:send(action.frame)) end
function does.bound(self, action) self:hold(action.lease.address) end
function does.lost(self) self:hold(nil) end
function does.note() end

function does.check(self, action)
  if self.is_manual then return end
  local is_free = not self.is_free or self.is_free(action.address)
  uv.new_timer():start(1, 0, function()
    if self.socket then self:call("checked", is_free) end
  end)
end

--- Call a method of the client and carry out what it wants.
function Driver:call(method, ...)
  for _, action in ipairs(self.client[method](self.client, self:now(), ...)) do
    if action.type ~= "send" then self.events[#self.events + 1] = action end
    does[action.type](self, action)
  end
  self:arm()
end

function Driver:arm()
  local deadline = self.client:deadline()
  self.timer:stop()
  if not deadline then return end
  self.timer:start(math.max(0, math.ceil((deadline - self:now()) * 1000)), 0, function() self:call("tick") end)
end

--- Set the clock forward to a point of the lease: "t1", "t2" or "seconds".
function Driver:skip_to(name)
  local lease = assert(self.client:lease())
  self.skew = self.skew + lease.at + lease[name] - self:now() + 0.001
  self:call("tick")
end

--- Wait for an event of a type that was not waited for before; returns it.
function Driver:until_event(wanted, timeout_s)
  return loop.until_true(function()
    for i, event in ipairs(self.events) do
      if event.type == wanted then
        table.remove(self.events, i)
        return event
      end
    end
  end, timeout_s or 15, ("%s: %s (it is %s)"):format(self.name, wanted, self.client:state()))
end

--- Start, and wait for a lease; returns it.
function Driver:bind()
  self:call("start")
  return self:until_event("bound").lease
end

--- Remove it, without a RELEASE.
function Driver:close()
  if not self.socket then return end
  self.timer:close()
  self:hold(nil)
  if self.listener then self.listener:close() end
  self.socket:close()
  self.socket = nil
  self.nl:link_delete(self.index)
  self.nl:close()
end

return driver
