--- Which interface announces an address, and what of the node's own network no Service may have.
-- Pure: works on a view of the node's network, made by moonlb.announcer.host:
-- `links` (index -> link), `addresses` (array), `routes` (family -> default route or nil), as core.netlink has them.
-- @module moonlb.announcer.interface
local address = require("moonlb.core.address")

local interface = {}

--- Tag of our addresses on lo (IFA_PROTO, linux/if_addr.h): 'm'. The kernel's own values are 1 to 3.
interface.PROTOCOL = 0x6d

-- IPVS puts every VIP on this one, on every node; macvlans of ours are named like this, or tell by their alias.
local IPVS = "kube-ipvs0"
local OUR_MACVLAN, OUR_ALIAS = "^moonlb%-%x%x%x%x%x%x%x%x$", "^moonlb %S+/%S+$"

local function find_link(view, name)
  for _, link in pairs(view.links) do
    if link.name == name then return link end
  end
  return nil
end

--- Is it a macvlan of ours?
function interface.is_ours(link)
  if link.name:match(OUR_MACVLAN) then return true end
  return link.kind == "macvlan" and link.alias ~= nil and link.alias:match(OUR_ALIAS) ~= nil
end

--- Does the link lead to a segment that this node shares with others?
function interface.is_segment(link)
  return not link.is_loopback and link.name ~= IPVS and not interface.is_ours(link)
end

local function is_on_segment(view, entry)
  local link = view.links[entry.index]
  return link and interface.is_segment(link) and entry.protocol ~= interface.PROTOCOL
end

-- The link whose subnet holds `ip`, the longest prefix first, then the lowest index. Link-local subnets are on every
-- interface and say nothing.
local function by_subnet(view, ip, family)
  local best
  for _, entry in ipairs(view.addresses) do
    if entry.family == family and entry.scope ~= "link" and is_on_segment(view, entry)
        and address.in_subnet(ip, address.mask(entry.address, entry.prefix), entry.prefix)
        and (not best or entry.prefix > best.prefix or (entry.prefix == best.prefix and entry.index < best.index)) then
      best = entry
    end
  end
  return best and view.links[best.index]
end

--- The link whose own subnet holds an address, if it can announce.
-- @treturn table|nil
function interface.of_subnet(view, ip)
  local _, family = address.canonical(ip)
  local link = by_subnet(view, ip, family)
  return link and not interface.trouble(link) and link or nil
end

-- Without a default route of the family, the other family's shows where the LAN is; without any, the subnet does.
local function by_default_route(view, ip, family)
  local route = view.routes[family] or view.routes[family == 4 and 6 or 4]
  local link = route and view.links[route.index] or by_subnet(view, ip, family)
  if link then return link end
  return nil, ("no default route and no interface in the subnet of %s: name one by vip_interface or the annotation "
    .. "kube-vip.io/serviceInterface"):format(ip), "InterfaceMissing"
end

local function by_name(view, name, source)
  local link = find_link(view, name)
  if link then return link end
  return nil, ("interface %s (%s) does not exist on this node"):format(name, source), "InterfaceMissing"
end

local function choose(view, ip, family, names)
  for _, choice in ipairs(names) do
    local name, source = choice.name, choice.source
    if name == "auto" then
      local link = by_subnet(view, ip, family)
      if link then return link end
      return by_default_route(view, ip, family)
    elseif name and name ~= "" then
      return by_name(view, name, source)
    end
  end
  return by_default_route(view, ip, family)
end

--- The link that announces `ip`.
-- @tparam table view  the node's network
-- @tparam string ip  canonical
-- @tparam string|nil annotation  value of `kube-vip.io/serviceInterface`
-- @tparam table settings  `services_interface`, `interface`
-- @treturn table  the link; or nil, message, `"InterfaceMissing"`
function interface.choose(view, ip, annotation, settings)
  local _, family = address.canonical(ip)
  return choose(view, ip, family, {
    { name = annotation, source = "annotation kube-vip.io/serviceInterface" },
    { name = settings.services_interface, source = "vip_servicesinterface" },
    { name = settings.interface, source = "vip_interface" },
  })
end

--- Why `link` cannot serve now, or nil when it can.
function interface.trouble(link)
  if not link.is_up then return ("interface %s is down"):format(link.name) end
  if not link.is_running then return ("interface %s has no carrier"):format(link.name) end
  if not link.mac then return ("interface %s has no MAC address: it cannot speak ARP"):format(link.name) end
  return nil
end

local function link_text(link)
  return table.concat({ link.index, link.name, link.mac or "", tostring(link.is_up), tostring(link.is_running) }, " ")
end

--- All of the view that choose(), trouble(), host_owner() and excluded() look at, as text: unless it changes, nothing
-- has to be decided anew. On a node, links of Pods come and go all the time.
-- @tparam table names  set of the interface names that annotations and settings use
function interface.fingerprint(view, names)
  local lines, is_relevant = {}, {}
  for _, entry in ipairs(view.addresses) do
    if entry.scope ~= "link" and is_on_segment(view, entry) then
      is_relevant[entry.index] = true
      lines[#lines + 1] = ("%d %s/%d"):format(entry.index, entry.address, entry.prefix)
    end
  end
  for family, route in pairs(view.routes) do
    is_relevant[route.index] = true
    lines[#lines + 1] = ("%d via %s %d"):format(family, route.gateway or "", route.index)
  end
  for index, link in pairs(view.links) do
    if is_relevant[index] or names[link.name] then lines[#lines + 1] = link_text(link) end
  end
  table.sort(lines)
  return table.concat(lines, "\n")
end

--- The name of the interface on which `ip` is the host's own, or nil.
-- @treturn string|nil
-- @treturn boolean|nil  whether it stands there as a single address (/32, /128)
function interface.host_owner(view, ip)
  for _, entry in ipairs(view.addresses) do
    if entry.address == ip and is_on_segment(view, entry) then
      return view.links[entry.index].name, entry.prefix == (entry.family == 6 and 128 or 32)
    end
  end
  return nil
end

-- Network and broadcast address of an IPv4 segment; the subnet-router anycast address of IPv6 (RFC 4291 section 2.6.1).
local function edges(entry, name, add)
  local network = address.mask(entry.address, entry.prefix)
  if entry.family == 6 then
    if entry.prefix <= 126 then add(network, "subnet-router anycast address of " .. name) end
  elseif entry.prefix <= 30 then
    add(network, "network address of " .. name)
    add(address.broadcast(entry.address, entry.prefix), "broadcast address of " .. name)
  end
end

--- What no Service may have, because this node's network needs it.
-- @treturn table  array of `{first=, last=, reason=}`, ordered by address, each once
function interface.excluded(view, node)
  local list, seen = {}, {}
  local function add(ip, reason)
    if seen[ip] then return end
    seen[ip] = true
    list[#list + 1] = { first = ip, last = ip, reason = reason }
  end
  for _, entry in ipairs(view.addresses) do
    if entry.scope ~= "link" and is_on_segment(view, entry) then
      local name = ("%s on node %s"):format(view.links[entry.index].name, node)
      add(entry.address, "address of " .. name)
      edges(entry, name, add)
    end
  end
  for _, route in pairs(view.routes) do
    if route.gateway then add(route.gateway, "gateway of node " .. node) end
  end
  table.sort(list, function(a, b) return address.compare(a.first, b.first) < 0 end)
  return list
end

return interface
