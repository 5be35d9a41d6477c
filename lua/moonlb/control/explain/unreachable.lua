--- Why a Service with an address is not reached: diagnoses over facts, in the order in which they are asked. All of
-- them look at a cluster, unless they say otherwise. Pure.
-- @module moonlb.control.explain.unreachable
local ago = require("moonlb.control.explain.ago")
local fields = require("moonlb.allocator.fields")
local words = require("moonlb.control.explain.words")

local list = {}

local function diagnosis(code, fn, of)
  list[#list + 1] = { code = code, ask = fn, of = of or "cluster" }
end

local function any(items, is_it)
  for _, item in ipairs(items or {}) do
    if is_it(item) then return item end
  end
  return nil
end

local function addresses(facts)
  return table.concat(facts.assigned or {}, ", ")
end

local function is_answered(facts)
  return any(facts.announcer and facts.announcer.vips, function(it)
    return it.state == "announcing" or it.state == "held"
  end) ~= nil
end

-- Another node of ours is alive and owns it: what this node lacks is not why it is unreachable.
local function is_elsewhere(facts)
  local owner = facts.owner
  return owner ~= nil and not owner.is_here and owner.is_alive == true
end

-- This node's own troubles count as long as no other node serves it.
local function here(facts)
  return facts.announcer and facts.announcer.is_here and not is_elsewhere(facts) and facts.announcer or nil
end

-- Nobody runs. ------------------------------------------------------------------------------------------------------

local function last_renewal(expired)
  return ("Lease %s was last renewed %s ago, by %s"):format(expired.lease, ago(expired.age), expired.holder)
end

-- Killed, it takes nothing back: claims and status in the API go on to say that all is well.
diagnosis("daemon-gone", function(facts)
  local owner, expired = facts.owner, facts.allocator and facts.allocator.expired
  if not facts.stale_socket or not facts.assigned then return end
  if owner and owner.node ~= facts.node and not expired then return end
  return ("the moonlb of node %s has ended and took nothing back: nobody answers on its socket %s%s"):format(facts.node,
    facts.stale_socket, expired and "; " .. last_renewal(expired) or ""),
    "start it again, or see why it does not: " .. words.PODS
end)

diagnosis("lease-expired", function(facts)
  local expired = facts.source == "cluster" and facts.allocator and facts.allocator.expired
  if not expired or not facts.assigned then return end
  local owner = facts.owner and ("whether node %s still announces %s"):format(facts.owner.node, addresses(facts))
    or ("whether anybody announces %s"):format(addresses(facts))
  return ("no moonlb leads (%s), and %s is not known"):format(last_renewal(expired), owner),
    "see that moonlb runs: " .. words.PODS
end)

-- DHCP. -------------------------------------------------------------------------------------------------------------

local DHCP = {
  { "dhcp-nak", "nak", "the DHCP server refused %s (NAK)", "see its log and its pool; moonlb asks anew by itself" },
  { "dhcp-declined", "declined", "%s, which the DHCP server gave, is used by another machine",
    "take that machine off the address; moonlb has declined it and asks for another" },
  { "dhcp-expired", "expired", "the DHCP lease of %s expired, and no server renewed it",
    "see that the DHCP server runs on the interface's LAN" },
}

for _, row in ipairs(DHCP) do
  local code, reason, wrong, fix = table.unpack(row)
  diagnosis(code, function(facts)
    local lease = facts.lease
    if not lease or lease.state == "bound" or lease.lost ~= reason then return end
    return wrong:format(lease.lost_address or "its address"), fix
  end)
end

diagnosis("dhcp-silent", function(facts)
  local lease = facts.lease
  if not lease or lease.address or lease.state == "bound" then return end
  return ("it waits for an address by DHCP, and no server has answered%s"):format(lease.interface
    and " on " .. lease.interface or ""),
    "see that a DHCP server serves that LAN, or ask for an address of a pool"
end)

local function is_dhcp(facts)
  local first = facts.assigned and facts.assigned[1]
  return first == fields.DHCP or first == fields.DHCPV6
end

diagnosis("dhcp-nobody", function(facts)
  if not is_dhcp(facts) or facts.lease or is_elsewhere(facts) then return end
  return "it is to get its address by DHCP, and no node asks for one",
    "see that moonlb announces on a node of that LAN; or ask for an address of a pool"
end, "daemon")

-- Who asks for it, and what the server says, stands nowhere in the API until there is a lease.
diagnosis("dhcp-unknown", function(facts)
  if facts.source ~= "cluster" or not is_dhcp(facts) then return end
  local event = words.last_event(facts, { LeaseLost = true, LeaseNote = true })
  return ("it is to get its address by DHCP, and no lease is written yet%s"):format(event
    and (" (Event %s, %s ago: %s)"):format(event.reason, ago(facts.walltime - event.at), event.message) or ""),
    "what the server says only the moonlb knows that asks it: " .. words.ask_daemon(facts)
end)

-- This node. --------------------------------------------------------------------------------------------------------

diagnosis("announcer-off", function(facts)
  local it = facts.announcer
  if not it or it.is_here or it.error or facts.owner then return end
  return ("%s is assigned, but this moonlb does not announce, and no node is known to"):format(addresses(facts)),
    "run moonlb run --announce on the nodes of that LAN"
end)

diagnosis("announcer-failed", function(facts)
  local it = facts.announcer
  if not it or not it.error or is_elsewhere(facts) then return end
  return ("node %s cannot announce: %s"):format(facts.node, it.error),
    "give the Pod NET_ADMIN and NET_RAW, as manifests/moonlb.yaml does, and run moonlb doctor there"
end)

diagnosis("stranger", function(facts)
  local entry = facts.conflicts and facts.conflicts[1]
  if not entry or is_answered(facts) then return end
  return ("%s is used by another machine: %s answers for it on %s (seen by node %s)"):format(entry.address, entry.mac,
    entry.interface, entry.node),
    "find that machine by its MAC and take it off the address; moonlb tries again by itself"
end, "files")

diagnosis("no-key", function(facts)
  local it = here(facts)
  if not it or not it.heartbeat then return end
  return ("nodes cannot agree who announces: %s"):format(it.heartbeat),
    "see Secret kube-system/moonlb-heartbeat and the rights of moonlb's ServiceAccount"
end)

diagnosis("mute", function(facts)
  local it = here(facts)
  if not it or not it.mute then return end
  return ("node %s answers nothing: its pulse is mute (%s)"):format(facts.node, it.mute == "gap"
    and "the process was not run for a moment" or "the loop hangs"),
    "it heals by itself; if it stays, see the node's load and moonlb_loop_lag_seconds"
end)

local function complaint(facts, reason)
  return any(here(facts) and facts.announcer.complaints, function(it) return it.reason == reason end)
end

diagnosis("host-address", function(facts)
  local it = complaint(facts, "AddressConflict")
  if not it then return end
  return it.message, "a node's own address cannot be announced: ask for another one"
end)

diagnosis("interface-key", function(facts)
  local it = complaint(facts, "InterfaceMissing")
  local key = facts.configmap and facts.configmap.interface
  local annotations = facts.service and facts.service.metadata.annotations
  if not it or not key or type(annotations) ~= "table" or annotations[fields.INTERFACE] ~= key.name then return end
  return ("interface %s, which key %s of ConfigMap %s names, does not exist on node %s"):format(key.name, key.key,
    facts.configmap.name, facts.node), ("mend the key (%s), and what it gave this Service: %s"):format(
      words.edit_configmap(facts), words.kubectl(facts, "annotate svc %s --overwrite " .. fields.INTERFACE .. "=NAME"))
end)

diagnosis("interface-missing", function(facts)
  local it = complaint(facts, "InterfaceMissing")
  if not it then return end
  return it.message, "name one that exists (annotation kube-vip.io/serviceInterface or --interface)"
end)

diagnosis("segment-failed", function(facts)
  local it = complaint(facts, "AnnounceFailed")
  if not it then return end
  return ("node %s cannot speak on the interface: %s"):format(facts.node, it.message),
    "give the Pod NET_ADMIN and NET_RAW, and run moonlb doctor there"
end)

diagnosis("interface-down", function(facts)
  local link = here(facts) and facts.announcer.link_trouble
  if not link then return end
  return ("node %s cannot announce it: %s"):format(facts.node, link),
    "set the interface up, or see the cable and switch"
end)

diagnosis("no-endpoint", function(facts)
  local endpoints = facts.endpoints
  if not endpoints or endpoints.all > 0 or not facts.assigned then return end
  local outcome = facts.announcer and is_answered(facts) and "it is announced, but every connection is refused"
    or "nobody can be reached behind it"
  return ("it has no ready endpoint: %s"):format(outcome),
    ("see its Pods and selector: kubectl -n %s get pods,endpointslices"):format(facts.key:match("^(.-)/"))
end)

-- The nodes that could announce it: where heartbeats are heard all of those, else the one that holds the claim.
local function announcing_nodes(facts)
  local names = {}
  if facts.announcer and facts.announcer.is_here then
    for _, node in ipairs(facts.nodes or {}) do names[#names + 1] = not node.is_unheard and node.name or nil end
  end
  if facts.owner then names[#names + 1] = facts.owner.node end
  return names
end

local function places(nodes)
  local names = {}
  for name in pairs(nodes) do names[#names + 1] = name end
  table.sort(names)
  return names[1] and (" (on %s)"):format(table.concat(names, ", ")) or ""
end

diagnosis("local-endpoints", function(facts)
  local endpoints, names = facts.endpoints, announcing_nodes(facts)
  if not endpoints or not endpoints.is_local or not facts.assigned or not names[1] or is_elsewhere(facts)
    or is_answered(facts) or any(names, function(name) return endpoints.nodes[name] end) then
    return
  end
  return ("externalTrafficPolicy is Local, and no node that could announce it has one of its %d ready endpoints%s")
    :format(endpoints.all, places(endpoints.nodes)),
    "run a Pod on a node with moonlb, or let all nodes serve it: "
      .. words.kubectl(facts, [[patch svc %s -p '{"spec":{"externalTrafficPolicy":"Cluster"}}']])
end)

-- All nodes. --------------------------------------------------------------------------------------------------------

diagnosis("all-drained", function(facts)
  if is_answered(facts) or not facts.nodes or not facts.nodes[1] then return end
  if any(facts.nodes, function(it) return not it.is_drained and not it.is_unheard end) then return end
  return "every node is drained or excluded from load balancers: nobody announces it",
    "take the annotation moonlb.io/drain, or the label node.kubernetes.io/exclude-from-external-load-balancers, off one"
end)

diagnosis("take-failed", function(facts)
  local it = any(here(facts) and facts.announcer.vips, function(vip) return vip.failures and vip.failures > 0 end)
  if not it then return end
  return ("node %s could not take %s: %s"):format(facts.node, it.address, it.reason or "?"),
    "run moonlb doctor on that node; it is tried again by itself"
end)

diagnosis("kube-vip-beside", function(facts)
  local owner = facts.owner
  if not facts.host or not owner or facts.host == owner.node then return end
  return ("kube-vip.io/vipHost says %s, moonlb's claim says %s: another announcer, kube-vip perhaps, serves it too")
    :format(facts.host, owner.node), "stop kube-vip's services (svc_enable=false) on all nodes"
end)

diagnosis("foreign-host", function(facts)
  if not facts.host or facts.owner or is_answered(facts) then return end
  return ("%s is announced by node %s, but not by moonlb: kube-vip runs there"):format(addresses(facts), facts.host),
    "let it, and run moonlb with --allocate alone; or stop kube-vip's services (svc_enable=false)"
end)

diagnosis("owner-silent", function(facts)
  local owner = facts.owner
  if not owner or owner.is_here or owner.is_alive ~= false then return end
  return ("node %s holds the claim on %s and is not heard%s"):format(owner.node, addresses(facts), owner.heard
    and (" for %.0f s"):format(owner.heard) or ""),
    "see that node and the LAN between, and whether its moonlb hangs; another takes over as soon as one qualifies: "
      .. words.PODS
end)

diagnosis("owner-gone", function(facts)
  local owner = facts.owner
  if not owner or owner.is_known ~= false then return end
  return ("its claim names node %s, which the cluster does not have%s"):format(owner.node,
    owner.is_ready == false and " ready" or ""),
    "see that moonlb runs on the others: " .. words.PODS
end)

diagnosis("no-owner", function(facts)
  if not facts.assigned or is_answered(facts) or facts.owner then return end
  if facts.announcer and not facts.announcer.is_here then return end
  local why = facts.announcer and facts.announcer.why
  return ("no node announces %s yet%s"):format(addresses(facts), why and ": " .. why or ""),
    "wait a second; if it stays, run moonlb doctor on a node of that LAN"
end)

-- Announced. --------------------------------------------------------------------------------------------------------

diagnosis("being-taken", function(facts)
  local first = facts.announcer and facts.announcer.vips and facts.announcer.vips[1]
  if not first or not facts.owner or not facts.owner.is_here or is_answered(facts) then return end
  return ("node %s is about to announce %s (%s)"):format(facts.node, first.address, first.state), "wait a second"
end)

diagnosis("status-not-written", function(facts)
  local failure = facts.announcer and facts.announcer.status_failure
  if failure then
    return ("%s is announced, but its status could not be written: %s"):format(addresses(facts), failure.message),
      "kube-proxy serves only what status shows; moonlb tries again, run moonlb doctor if it stays"
  end
  if not is_answered(facts) then return end
  for _, ip in ipairs(facts.assigned or {}) do
    if not facts.ingress[ip] then
      return ("%s is announced, but its status does not show it yet"):format(ip), "wait a moment"
    end
  end
end)

local UPNP = {
  ["718"] = "choose another port (annotation moonlb.io/upnp-ports), remove the other mapping, or run --upnp-any-port",
  ["606"] = "allow UPnP for that address in the router, and switch its secure mode to the VIP's own requests",
}

diagnosis("upnp-failed", function(facts)
  local it = any(facts.mappings, function(mapping) return mapping.state == "failed" end)
  if not it then return end
  local reason = it.reason or "no reason known"
  local fix = it.gateway and (UPNP[reason:match("%f[%d](%d%d%d)%f[%D]")] or "see the router's log; it is tried again")
    or "no router answers: switch UPnP (or NAT-PMP) on in it"
  return ("inside it works, but port %d/%s is not open on the router: %s"):format(it.port, it.protocol, reason), fix
end)

diagnosis("upnp-no-gateway", function(facts)
  local it = any(facts.mappings, function(mapping) return mapping.state == "waiting" and not mapping.gateway end)
  if not it then return end
  return ("inside it works, but no router was found to open port %d/%s%s"):format(it.port, it.protocol,
    it.reason and " (" .. it.reason .. ")" or ""), "switch UPnP (or NAT-PMP) on in the router"
end)

diagnosis("double-nat", function(facts)
  local it = any(facts.mappings, function(mapping) return mapping.double_nat end)
  if not it then return end
  return ("the port is open on the router, but the internet does not reach it: %s"):format(it.double_nat),
    "open the port on the router before it as well, or ask the provider for a public address"
end)

diagnosis("source-ranges", function(facts)
  local ranges = facts.service.spec.loadBalancerSourceRanges
  if type(ranges) ~= "table" or not ranges[1] then return end
  return ("nothing is wrong, but only %s may reach it (loadBalancerSourceRanges)"):format(table.concat(ranges, ", ")),
    "add the client's network there if it is refused"
end, "files")

return list
