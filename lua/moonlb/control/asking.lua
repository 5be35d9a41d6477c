--- What the LAN says: who answers for an address (ARP, RFC 826; neighbour discovery, RFC 4861), asked on a socket of
-- its own for as long as the question takes, so that nothing of what announces is touched.
-- @module moonlb.control.asking
local address = require("moonlb.core.address")
local arp = require("moonlb.core.arp")
local async = require("moonlb.async")
local interface = require("moonlb.announcer.interface")
local json = require("moonlb.json")
local ndp = require("moonlb.core.ndp")
local packet = require("moonlb.core.packet")

local asking = {}

-- Questions, and seconds after each; a few answers are enough to tell that there is more than one.
local TIMES, WAIT, MOST = 3, 0.2, 16

local PROTOCOLS = {
  [4] = { open = packet.arp_socket, probe = arp.probe, says = function(frame, ip)
    local seen = arp.decode(frame)
    return seen and seen.operation == "reply" and seen.sender_ip == ip and seen.sender_mac
  end },
  [6] = { open = packet.nd_socket, probe = ndp.probe, says = function(frame, ip)
    local seen = ndp.decode(frame)
    return seen and seen.type == "na" and seen.target == ip and (seen.link_address or seen.source)
  end },
}

-- The announcer's interface for the address, or the reason why there is none.
local function link_of(announcer, ip)
  local link, message, code = interface.choose(announcer.host.view, ip, nil, announcer.settings)
  if not link then return nil, message, code end
  local trouble = interface.trouble(link)
  if trouble then return nil, trouble, "ENETDOWN" end
  return link
end

-- Whose MAC it is, as far as this node knows.
local function owner_of(announcer, mac)
  if announcer.host:has_mac(mac) then return "this node" end
  if announcer.wire:is_ours(mac) then return "a node of this cluster" end
  return "a stranger"
end

local function collect(announcer, link, ip, protocol)
  local answers, known = json.array(), {}
  local socket, message, code = protocol.open(link.index, function(frame)
    local mac = protocol.says(frame, ip)
    if not mac or known[mac] or #answers >= MOST then return end
    known[mac] = true
    answers[#answers + 1] = { mac = mac, who = owner_of(announcer, mac) }
  end)
  if not socket then return nil, message, code end
  for _ = 1, TIMES do
    local ok
    ok, message, code = protocol.probe(link.index, link.mac, ip)
    if not ok then break end
    async.sleep(WAIT)
  end
  socket:close()
  if message then return nil, message, code end
  return answers
end

local function is_in_subnet_of(view, link, ip, family)
  for _, entry in ipairs(view.addresses) do
    if entry.index == link.index and entry.family == family
        and address.in_subnet(ip, address.mask(entry.address, entry.prefix), entry.prefix) then
      return true
    end
  end
  return false
end

-- Why silence on the LAN does not mean that an address is free; nil when it does.
local function why_taken(announcer, link, ip, family)
  local view = announcer.host.view
  local kind = address.kind(ip)
  if kind ~= "unicast" then return ("it is a %s address"):format(kind) end
  local owner = interface.host_owner(view, ip)
  if owner then return ("it is this node's own, on %s"):format(owner) end
  for _, it in ipairs(interface.excluded(view, announcer.node)) do
    if it.first == ip then return "it is the " .. it.reason end
  end
  if not is_in_subnet_of(view, link, ip, family) then
    return ("it is in no subnet of %s: nobody is asked for it there"):format(link.name)
  end
  local service = announcer.groups:services_of(ip)[1]
  return service and ("it is given to Service %s"):format(service)
end

--- Ask the LAN three times who has the address. In a task; takes 0.6 s.
-- @tparam Announcer announcer
-- @tparam string text  IPv4 or IPv6 address
-- @treturn table|nil  `{address=, interface=, answers={{mac=, who=}, ...}, here=state of this node's VIP or nil,
-- taken=why it is not free whatever the LAN says, or nil}`; or nil, message, code. This node hears no answer of its
-- own: `here` says what it does.
function asking.who_has(announcer, text)
  local ip, family = address.canonical(type(text) == "string" and text or "")
  if not ip then return nil, ("not an IP address: %s"):format(tostring(text):sub(1, 64)), "EINVAL" end
  if not announcer then return nil, "this process does not announce: it has no socket on the LAN", "ENOTSUP" end
  local link, message, code = link_of(announcer, ip)
  if not link then return nil, message, code end
  local answers = json.array()
  if address.kind(ip) == "unicast" then
    answers, message, code = collect(announcer, link, ip, PROTOCOLS[family])
    if not answers then return nil, message, code end
  end
  local vip = announcer.vips[ip]
  return { address = ip, interface = link.name, answers = answers, here = vip and vip.state or nil,
    taken = why_taken(announcer, link, ip, family) or nil }
end

--- The kernel's neighbours on the interfaces of the LAN.
-- @tparam Announcer announcer
-- @tparam number most  at most so many
-- @treturn table|nil  `items` array of `{address=, mac=, interface=, state=}`, `total`; or nil, message, code
function asking.neighbours(announcer, most)
  if not announcer then return nil, "this process does not announce: it has no view of the LAN", "ENOTSUP" end
  local list, message, code = announcer.host.netlink:neighbours()
  if not list then return nil, message, code end
  local rows, total = json.array(), 0
  for _, it in ipairs(list) do
    local link = announcer.host.view.links[it.index]
    -- What needs no ARP is a group or broadcast, nobody.
    if link and interface.is_segment(link) and it.state ~= "noarp" then
      total = total + 1
      if #rows < most then
        rows[#rows + 1] = { address = it.address, mac = it.mac, interface = link.name, state = it.state }
      end
    end
  end
  table.sort(rows, function(a, b) return a.address < b.address end)
  return { items = rows, total = total }
end

return asking
