--- The interface of a leased address: a macvlan in bridge mode with a MAC of its own. The address is on it, /32, and
-- the pulse alone answers for it. It is known as ours by its alias.
-- @module moonlb.announcer.dhcp.macvlan
local log = require("moonlb.core.log")

local macvlan = {}

local ALIAS = "^moonlb (%S+/%S+)$"

--- The Service that a link belongs to, or nil when it is no macvlan of ours.
-- @tparam table link  as core.netlink has it
-- @treturn string|nil  namespace/name
function macvlan.key_of(link)
  return link.kind == "macvlan" and link.alias and link.alias:match(ALIAS) or nil
end

local function name_capability(message, code)
  if code ~= "EPERM" and code ~= "EACCES" then return message end
  if message:find("CAP_", 1, true) then return message end
  return message .. ": moonlb needs the capability CAP_NET_ADMIN"
end

-- What netlink cannot set. The macvlan makes no address by itself; this keeps a router's advertisement from making one,
-- or a route. /proc/sys may be read only, and without IPv6 there is nothing to set.
local function refuse_advertisements(name)
  for _, setting in ipairs({ "accept_ra", "autoconf" }) do
    local file = io.open(("/proc/sys/net/ipv6/conf/%s/%s"):format(name, setting), "w")
    if file then
      file:write("0")
      file:close()
    end
  end
end

-- The kernel answers no ARP there (arp_ignore 8), and what it sends of its own names an address of the interface that
-- it leaves by.
local function configure(netlink, index, options)
  refuse_advertisements(options.name)
  local ok, message, code = netlink:set_ipv4_conf(index, { arp_ignore = 8, arp_announce = 2, arp_notify = 0,
    rp_filter = options.rp_filter })
  if not ok then return nil, message, code end
  return netlink:link_set(index, { up = true })
end

-- One that an earlier run left, or that is there already: true when it can stay; nil, message, code when the name is
-- somebody else's.
local function adopt(netlink, link, parent, options)
  if macvlan.key_of(link) ~= options.key then
    local whose = macvlan.key_of(link)
    return nil, ("interface %s exists, and %s"):format(options.name,
      whose and "serves " .. whose or "is not moonlb's"), "EEXIST"
  end
  if link.parent ~= parent.index then
    netlink:link_delete(link.index)
    return false
  end
  if link.mac == options.mac then return true end
  netlink:link_set(link.index, { up = false })
  return netlink:link_set(link.index, { mac = options.mac })
end

--- The macvlan of a Service, made, or found and put right; up.
-- @tparam table netlink  a core.netlink handle
-- @tparam table parent  `index`, `name`
-- @tparam table options  `key` (namespace/name), `name`, `mac`, `rp_filter`
-- @treturn number  its index; or nil, message, code
function macvlan.ensure(netlink, parent, options)
  local found, index = netlink:link(options.name), nil
  if found then
    local stays, message, code = adopt(netlink, found, parent, options)
    if stays == nil then return nil, name_capability(message, code), code end
    index = stays and found.index
  end
  local message, code
  if not index then
    index, message, code = netlink:macvlan_add({ parent = parent.index, name = options.name, mac = options.mac,
      mode = "bridge", alias = "moonlb " .. options.key })
    if not index then
      return nil, ("macvlan %s on %s: %s"):format(options.name, parent.name, name_capability(message, code)), code
    end
  end
  local ok
  ok, message, code = configure(netlink, index, options)
  if ok then return index end
  netlink:link_delete(index)
  return nil, ("macvlan %s: %s"):format(options.name, name_capability(message, code)), code
end

--- Take it away. Nothing is said when it is gone already.
function macvlan.remove(netlink, index)
  local ok, message, code = netlink:link_delete(index)
  if not ok and code ~= "ENODEV" then
    log.error("cannot remove a macvlan", { index = index, error = name_capability(message, code) })
  end
end

--- Take away every macvlan of ours whose Service is not wanted: what a crash left.
-- @tparam table netlink
-- @tparam table links  index -> link
-- @tparam function is_wanted  (key, link) -> boolean
-- @treturn number  how many
function macvlan.sweep(netlink, links, is_wanted)
  local count = 0
  for index, link in pairs(links) do
    local key = macvlan.key_of(link)
    if key and not is_wanted(key, link) then
      macvlan.remove(netlink, index)
      count = count + 1
    end
  end
  return count
end

return macvlan
