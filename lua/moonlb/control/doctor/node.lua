--- What the node has to be like.
-- @module moonlb.control.doctor.node
local capabilities = require("moonlb.announcer.capabilities")
local interface = require("moonlb.announcer.interface")

local list = {}

local function check(name, run)
  list[#list + 1] = { name = name, run = run }
end

local APPLY = "kubectl apply -f manifests/moonlb.yaml"
local IN_POD = "run it as root, or in the Pod: kubectl -n kube-system exec ds/moonlb -- moonlb doctor"
local SHOW_NETWORK = "see what the node has: ip -br address; ip route"
local BOOTPC, METRICS = 68, 2112

-- The node's network as the announcer sees it; nil and why not.
local function view_of(look)
  local nl = look.netlink
  if not nl then return nil, look.netlink_error end
  local view = { links = {}, addresses = {}, routes = {} }
  for _, link in ipairs(nl:links() or {}) do view.links[link.index] = link end
  for _, entry in ipairs(nl:addresses() or {}) do
    local link = view.links[entry.index]
    if link and interface.is_segment(link) then table.insert(view.addresses, entry) end
  end
  for _, family in ipairs({ 4, 6 }) do view.routes[family] = nl:default_route(family) end
  return view
end

-- The link that announces what has no annotation of its own: 192.0.2.1 is in nobody's subnet (RFC 5737).
local function announcing(look)
  local view, message = view_of(look)
  if not view then return nil, message end
  local link
  link, message = interface.choose(view, "192.0.2.1", nil, look.settings)
  return link, message, view
end

-- Kinds of links that may lead to the LAN; a real device has none. Others (dummies, tunnels) are down on many nodes.
local TO_LAN = { veth = true, bond = true, team = true, bridge = true, vlan = true }

-- A link that is down takes its default route with it: then nothing else is wrong.
local function first_down(look)
  for _, link in ipairs(look.settings.interface and {} or look.netlink:links() or {}) do
    local is_to_lan = link.mac and (not link.kind or TO_LAN[link.kind]) and interface.is_segment(link)
    if is_to_lan and not link.is_up then return link end
  end
  return nil
end

check("interface", function(look, report)
  local link, message = announcing(look)
  if not look.netlink then return report("fail", message or "the network cannot be read", IN_POD) end
  local down = not link and first_down(look)
  if down then return report("fail", interface.trouble(down), ("ip link set %s up"):format(down.name)) end
  if not link then
    return report("fail", message or "no interface announces", "moonlb run --interface NAME (ip link shows the names)")
  end
  local trouble = interface.trouble(link)
  if trouble then return report("fail", trouble, ("ip link set %s up; or see cable and switch"):format(link.name)) end
  report("ok", ("%s (%s) announces what names no other"):format(link.name, link.mac))
end)

check("capabilities", function(look, report)
  local status = look.read("/proc/self/status") or ""
  local is_able, message = capabilities.check(status)
  if not is_able then return report("fail", message, "run as root, or in the Pod: " .. APPLY) end
  local has_nice = (tonumber(status:match("CapEff:%s*(%x+)"), 16) or 0) >> 23 & 1 == 1
  if not has_nice then
    return report("warn", "CAP_SYS_NICE is missing: under load ARP is answered late", "add SYS_NICE: " .. APPLY)
  end
  report("ok", "CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_NICE are there")
end)

local function conf(look, name, key)
  return tonumber((look.read(("/proc/sys/net/ipv4/conf/%s/%s"):format(name, key)) or ""):match("%d+"))
end

-- `all` and the interface act as their maximum (Documentation/networking/ip-sysctl).
local function effective(look, name, key)
  local own, all = conf(look, name, key), conf(look, "all", key)
  if not own and not all then return nil end
  return math.max(own or 0, all or 0)
end

check("arp", function(look, report)
  local link, message = announcing(look)
  if not link then return report("warn", "not looked at: " .. (message or "no interface"), SHOW_NETWORK) end
  local ignore, announce = effective(look, link.name, "arp_ignore"), effective(look, link.name, "arp_announce")
  if not ignore then
    return report("warn", "arp_ignore of " .. link.name .. " cannot be read",
      ("sysctl net.ipv4.conf.%s.arp_ignore net.ipv4.conf.all.arp_ignore"):format(link.name))
  end
  if ignore >= 1 and announce >= 2 then
    return report("ok", ("arp_ignore %d, arp_announce %d on %s"):format(ignore, announce, link.name))
  end
  local says = ("arp_ignore %d, arp_announce %d on %s: moonlb sets 1 and 2 as long as it announces"):format(ignore,
    announce, link.name)
  report("ok", says)
end)

check("ipvs", function(look, report)
  local view, message = view_of(look)
  if not view then return report("warn", "not looked at: " .. (message or "?"), IN_POD) end
  local ipvs
  for _, link in pairs(view.links) do ipvs = ipvs or link.name == "kube-ipvs0" end
  if not ipvs then return report("ok", "kube-proxy does not use IPVS here (no kube-ipvs0)") end
  local link = announcing(look)
  local ignore = link and effective(look, link.name, "arp_ignore") or 0
  if ignore >= 1 then return report("ok", "kube-ipvs0 is here, and arp_ignore keeps it from answering") end
  report("fail", "kube-ipvs0 has every VIP, and arp_ignore is 0: each node answers ARP for all of them",
    "set strictARP: true (kubectl -n kube-system edit configmap kube-proxy), then kubectl -n kube-system rollout "
      .. "restart daemonset kube-proxy")
end)

check("rp_filter", function(look, report)
  local link, _, view = announcing(look)
  if not link then return report("warn", "not looked at: no interface announces", SHOW_NETWORK) end
  local value = effective(look, link.name, "rp_filter")
  local route = view.routes[4]
  if value == 1 and not (route and route.index == link.index) then
    return report("warn", ("rp_filter of %s is strict, and the default route leaves elsewhere: clients from other "
      .. "subnets are dropped"):format(link.name),
      ("sysctl -w net.ipv4.conf.%s.rp_filter=2 net.ipv4.conf.all.rp_filter=2"):format(link.name))
  end
  report("ok", ("rp_filter %s on %s"):format(value or "unknown", link.name))
end)

-- Is a local port taken? /proc/net/udp and tcp: "sl local_address rem_address st ...", hexadecimal.
local function is_taken(look, file, port, state)
  local pattern = ("%%d+: (%%x+):%04X %%x+:%%x+ (%%x%%x)"):format(port)
  for line in (look.read(file) or ""):gmatch("[^\n]+") do
    local _, found = line:match(pattern)
    if found and (not state or found == state) then return true end
  end
  return false
end

check("port-68", function(look, report)
  if not is_taken(look, "/proc/net/udp", BOOTPC) then
    return report("ok", "UDP port 68 is free: leases of Services are renewed by unicast")
  end
  report("warn", "another program has UDP port 68: a DHCP client for the node itself, perhaps",
    "none is needed where the node has a static address: ss -ulpn sport = :68 names it")
end)

local REACHED = { reachable = true, stale = true, delay = true, probe = true, permanent = true, noarp = true }

local function neighbour(look, gateway)
  for _, entry in ipairs(look.netlink:neighbours() or {}) do
    if entry.address == gateway then return entry end
  end
  return nil
end

check("gateway", function(look, report)
  local view, message = view_of(look)
  if not view then return report("warn", "not looked at: " .. (message or "?"), IN_POD) end
  local gateway = view.routes[4] and view.routes[4].gateway or view.routes[6] and view.routes[6].gateway
  if not gateway then
    return report("warn", "there is no default gateway: only this LAN is reached",
      "if there is one: ip route add default via GATEWAY")
  end
  look.poke(gateway)
  local entry
  for _ = 1, 20 do
    entry = neighbour(look, gateway)
    if entry and REACHED[entry.state] and entry.mac then break end
    look.sleep(0.1)
  end
  if entry and entry.mac and REACHED[entry.state] then
    return report("ok", ("gateway %s is at %s (%s)"):format(gateway, entry.mac, entry.state))
  end
  report("fail", ("gateway %s does not answer"):format(gateway),
    ("arping %s; see cable, switch and VLAN"):format(gateway))
end)

check("ipv6", function(look, report)
  if not look.read("/proc/net/if_inet6") then
    return report("warn", "the kernel has no IPv6: IPv6 addresses of Services are not announced",
      "if you need them, boot without ipv6.disable=1: cat /proc/cmdline shows it")
  end
  local link = announcing(look)
  local off = link and look.read(("/proc/sys/net/ipv6/conf/%s/disable_ipv6"):format(link.name))
  if off and off:match("1") then
    return report("warn", ("IPv6 is switched off on %s"):format(link.name),
      ("sysctl -w net.ipv6.conf.%s.disable_ipv6=0"):format(link.name))
  end
  report("ok", "IPv6 is there")
end)

check("read-only", function(look, report)
  local closed = {}
  for _, path in ipairs({ "/proc/sys/net/ipv4/conf/all/arp_ignore", "/sys/class/net" }) do
    if not look.can_write(path) then closed[#closed + 1] = path:match("^/proc/sys") or "/sys" end
  end
  if not closed[1] then return report("ok", "/proc/sys and /sys can be written; moonlb uses netlink all the same") end
  report("ok", table.concat(closed, " and ") .. " can only be read: moonlb sets what it must by netlink")
end)

-- Processes of a name whose parent is none of them: a worker of a policy is no second moonlb.
local function roots(look, name)
  local processes, is_named, found = look.processes(), {}, {}
  for _, it in ipairs(processes) do is_named[it.pid] = it.name == name or nil end
  for _, it in ipairs(processes) do
    if is_named[it.pid] and not is_named[it.parent] then found[#found + 1] = it.pid end
  end
  return found
end

-- Only a `moonlb run` announces; this very command, a REPL or a sandbox does not.
check("second-moonlb", function(look, report)
  local pids, commands = {}, {}
  for _, it in ipairs(look.processes()) do commands[it.pid] = (it.command or "") .. "\0" end
  for _, pid in ipairs(roots(look, "moonlb")) do
    if commands[pid]:find("%zrun%z") then pids[#pids + 1] = pid end
  end
  if #pids > 1 then
    return report("fail", ("%d moonlb run here (pids %s)"):format(#pids, table.concat(pids, ", ")),
      ("stop all but one, since two on one node do not heed each other: ps -o pid,ppid,args -p %s"):format(
        table.concat(pids, ",")))
  end
  if #pids == 0 and is_taken(look, "/proc/net/tcp", METRICS, "0A") then
    return report("warn", ("another program listens on TCP port %d, where moonlb serves health and metrics"):format(
      METRICS), ("ss -tlpn sport = :%d names it; or moonlb run --port"):format(METRICS))
  end
  report("ok", #pids == 1 and "one moonlb runs here" or "no second moonlb is seen here")
end)

check("kube-vip-here", function(look, report)
  local pids = roots(look, "kube-vip")
  if #pids == 0 then return report("ok", "no kube-vip runs on this node, as far as /proc shows") end
  report("warn", ("kube-vip runs here (pid %d): it must not announce Services"):format(pids[1]),
    ("leave it the control plane alone (svc_enable=false in its manifest): ps -o pid,args -p %d"):format(pids[1]))
end)

return list
