--- The node's network as the announcer sees and changes it: a live view of links, addresses and default routes, the
-- held addresses on lo, and the ARP settings of announcing interfaces. All by netlink.
-- @module moonlb.announcer.host
local address = require("moonlb.core.address")
local arp_settings = require("moonlb.announcer.arp_settings")
local interface = require("moonlb.announcer.interface")
local log = require("moonlb.core.log")

local host = {}

local Host = { __name = "moonlb.announcer.host" }
Host.__index = Host

local HOST_PREFIX = { [4] = 32, [6] = 128 }

--- Read everything and follow changes.
-- @tparam table options  `netlink` (a core.netlink handle), `after(seconds, fn)`, `settings_file` (path or nil, see
--   arp_settings), `on_change()`: links, foreign addresses or default routes changed (once a turn of the loop),
--   `on_removed(ip)`: somebody took a held address off
-- @treturn Host  or nil, message, code
function host.open(options)
  local self = setmetatable({
    netlink = options.netlink, after = options.after, on_change = options.on_change, on_removed = options.on_removed,
    accepted = {}, view = { links = {}, addresses = {}, routes = {} }, foreign = {},
    arp = arp_settings.new(options.netlink, options.settings_file),
  }, Host)
  local ok, message, code = self.netlink:monitor(function(err, event) self:on_event(err, event) end)
  if not ok then return nil, message, code end
  ok, message, code = self:read_all()
  if not ok then return nil, message, code end
  for ip, index in pairs(self.strays) do self.accepted[ip] = index end
  return self
end

local function entry_key(entry)
  return entry.index .. " " .. entry.address .. "/" .. entry.prefix
end

-- kube-ipvs0 may have ten thousand addresses, which mean nothing here.
function Host:is_foreign(entry)
  local link = self.view.links[entry.index]
  return link ~= nil and interface.is_segment(link)
end

function Host:rebuild_addresses()
  local list = {}
  for _, entry in pairs(self.foreign) do list[#list + 1] = entry end
  table.sort(list, function(a, b)
    if a.index ~= b.index then return a.index < b.index end
    return address.compare(a.address, b.address) < 0
  end)
  self.view.addresses = list
end

function Host:is_held_entry(entry)
  if entry.prefix ~= HOST_PREFIX[entry.family] then return false end
  local link = self.view.links[entry.index]
  if entry.index ~= self.loopback and not (link and interface.is_ours(link)) then
    return self.accepted[entry.address] == entry.index	-- of a macvlan that is gone
  end
  return entry.protocol == interface.PROTOCOL or self.accepted[entry.address] ~= nil
end

function Host:read_routes()
  for _, family in ipairs({ 4, 6 }) do self.view.routes[family] = self.netlink:default_route(family) end
end

-- Everything anew: at start, and when notifications were lost. Fills `strays`: the tagged addresses found on
-- lo and our macvlans, and where.
function Host:read_all()
  local links, message, code = self.netlink:links()
  if not links then return nil, message, code end
  self.view.links, self.foreign, self.strays = {}, {}, {}
  for _, link in ipairs(links) do
    self.view.links[link.index] = link
    if link.is_loopback then self.loopback = link.index end
  end
  local addresses
  addresses, message, code = self.netlink:addresses()
  if not addresses then return nil, message, code end
  for _, entry in ipairs(addresses) do
    if self:is_held_entry(entry) then
      self.strays[entry.address] = entry.index
    elseif self:is_foreign(entry) then
      self.foreign[entry_key(entry)] = entry
    end
  end
  self:rebuild_addresses()
  self:read_routes()
  if not self.loopback then return nil, "no loopback interface in this network namespace", "ENODEV" end
  return true
end

-- Many notifications of one turn make one call.
function Host:changed()
  if self.is_change_due then return end
  self.is_change_due = true
  self.after(0, function()
    self.is_change_due = false
    if not self.is_closed then
      self:rebuild_addresses()
      if self.are_others_silent then
        self.are_others_silent = false
        self:silence_others()
      end
      self.on_change()
    end
  end)
end

function Host:on_address(event)
  if self:is_held_entry(event) then
    if event.action == "delete" and self.accepted[event.address] == event.index then
      self.accepted[event.address] = nil
      log.warn("a held address was removed", { address = event.address })
      self.on_removed(event.address)
    end
    return
  end
  if event.action == "new" and not self:is_foreign(event) then return end
  self.foreign[entry_key(event)] = event.action == "new" and event or nil
  self:changed()
end

function Host:on_overrun()
  log.warn("network notifications were lost: everything is read again")
  local ok, message = self:read_all()
  if not ok then return log.error("cannot read the node's network", { error = message }) end
  for ip in pairs(self.accepted) do
    if not self.strays[ip] then
      self.accepted[ip] = nil
      self.on_removed(ip)
    end
  end
  self:changed()
end

function Host:on_event(err, event)
  if self.is_closed then return end
  if err then return log.error("network notifications failed", { error = err.message, code = err.code }) end
  if event.type == "overrun" then
    self:on_overrun()
  elseif event.type == "address" then
    self:on_address(event)
  elseif event.type == "link" then
    self.view.links[event.index] = event.action == "new" and event or nil
    if event.action == "delete" then self.arp:forget(event.index) end
    self:changed()
  elseif event.type == "route" and (event.prefix or 0) == 0 then
    self:read_routes()
    self:changed()
  end
end

-- The kernel's EPERM says nothing that helps. EACCES is what it says of IPv6 addresses where IPv6 is switched off, too.
local function name_capability(message, code)
  if code ~= "EPERM" and code ~= "EACCES" then return message end
  if message:find("IPv6 is disabled", 1, true) then return message .. " (sysctl net.ipv6.conf.lo.disable_ipv6)" end
  return message .. ": moonlb needs the capability CAP_NET_ADMIN"
end

-- Take `ip` from an interface. Nothing is said when it, or the interface, is gone already.
function Host:take_off(ip, index)
  local _, family = address.canonical(ip)
  local ok, message, code = self.netlink:address_delete({ index = index, address = ip, prefix = HOST_PREFIX[family] })
  if not ok and code ~= "EADDRNOTAVAIL" and code ~= "ENODEV" then
    log.error("cannot take an address off", { address = ip, error = name_capability(message, code) })
  end
end

--- Let the node accept traffic for `ip`: on lo, /32 or /128, scope host, tagged ours. What is there stays untouched, so
-- that connections survive a restart. A leased IPv4 address is on its macvlan: on an interface without any IPv4 address
-- the kernel lets no rp_filter be loose (net/ipv4/fib_frontend.c, __fib_validate_source), and replies leave elsewhere.
-- @tparam string ip
-- @tparam[opt] number index  of the interface that it is answered on
-- @treturn boolean  true; or nil, message, code
function Host:accept(ip, index)
  local link, before = index and self.view.links[index], self.accepted[ip]
  local _, family = address.canonical(ip)
  local home = family == 4 and link and interface.is_ours(link) and index or self.loopback
  if before == home then return true end
  self.accepted[ip] = home
  local ok, message, code = self.netlink:address_add({ index = home, address = ip,
    prefix = HOST_PREFIX[family], protocol = interface.PROTOCOL, scope = "host", nodad = true })
  if not ok and code ~= "EEXIST" then
    self.accepted[ip] = before
    return nil, name_capability(message, code), code
  end
  if before then self:take_off(ip, before) end
  return true
end

--- Accept no more traffic for `ip`.
function Host:refuse(ip)
  local index = self.accepted[ip]
  if not index then return end
  self.accepted[ip] = nil
  self:take_off(ip, index)
end

--- Accept no more traffic for what is on interface `index`, which is to be removed.
function Host:clear(index)
  for ip, home in pairs(self.accepted) do
    if home == index then self:refuse(ip) end
  end
end

--- Take every address of ours off the node that `is_wanted(ip)` does not claim: what a crash left.
-- @treturn table  array of those addresses
function Host:sweep(is_wanted)
  local swept = {}
  for ip in pairs(self.accepted) do
    if not is_wanted(ip) then
      self:refuse(ip)
      swept[#swept + 1] = ip
    end
  end
  return swept
end

--- A link that was just made, without waiting for the notification.
-- @treturn table|nil  the link; nil when there is none
function Host:learn(index)
  local link = self.netlink:link(index)
  self.view.links[index] = link or nil
  return link
end

local function silence(self, link)
  if not link or interface.is_ours(link) then return true end	-- it was made silent, and goes with its settings
  local ok, message, code = self.arp:apply(link)
  if ok then return true end
  return nil, name_capability(message, code), code
end

-- The kernel answers for addresses on lo by whatever interface hears the question, and two of them may be on one LAN.
-- Those that only Pods are behind have no IPv4 address, and are left alone.
function Host:silence_others()
  if self.are_others_silent then return end
  self.are_others_silent = true
  for _, entry in ipairs(self.view.addresses) do
    local link = self.view.links[entry.index]
    local ok, message = true, nil
    if entry.family == 4 then ok, message = silence(self, link) end
    if not ok then
      log.warn("the kernel may answer for held addresses", { interface = link.name, error = message })
    end
  end
end

--- Keep the kernel from answering ARP for held addresses on this interface, and from announcing them as its own; and
-- on those that may hear the same questions: its parent, and whatever else has an IPv4 address.
-- @treturn boolean  true; or nil, message, code
function Host:silence_kernel(index)
  local link = self.view.links[index]
  if not link then return nil, ("interface %d is gone"):format(index), "ENODEV" end
  local ok, message, code = silence(self, link)
  if ok and link.parent then ok, message, code = silence(self, self.view.links[link.parent]) end
  if not ok then return nil, message, code end
  self:silence_others()
  return true
end

--- Is `mac` that of an interface of this node?
function Host:has_mac(mac)
  for _, link in pairs(self.view.links) do
    if link.mac == mac then return true end
  end
  return false
end

--- Clean stop: ARP settings as they were, no more notifications. The addresses are the wire's to take off before.
function Host:close()
  if self.is_closed then return end
  self.is_closed = true
  self.arp:restore()
  self.netlink:close()
end

return host
