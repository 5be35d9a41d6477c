--- What specs of DHCP ask of a lab (spec.support.lab): a server on it, and what became of a Service's lease.
-- @module spec.support.dhcp_lab
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")
local servers = require("spec.support.dhcp_servers")

local dhcp_lab = {}

--- The spec of a Service that asks for DHCP.
dhcp_lab.WANTED = { loadBalancerIP = "0.0.0.0" }

--- Body of an `it`: a lab whose router runs a server of that kind.
-- @tparam string kind  of dhcp_servers
-- @tparam table options  of dhcp_servers
-- @tparam function body  (lab, server)
-- @tparam[opt] table lab_options  of spec.support.lab
function dhcp_lab.test(kind, options, body, lab_options)
  return lab.test(function(it)
    local all = { lab = it, lease = 6 }
    for name, value in pairs(options) do all[name] = value end
    -- A DHCPv6 server listens on its link-local address, which the kernel first probes for.
    loop.until_true(function()
      return it:on("router", "ip", "-6", "address", "show", "dev", "eth0", "tentative").output == ""
    end, 10, "the router's addresses")
    local server = servers.start(kind, "router", all)
    local ok, err = pcall(body, it, server)
    if not ok then io.stdout:write("--- ", kind, "\n", server.process:output(), "\n") end
    server:stop()
    if not ok then error(err, 0) end
  end, lab_options)
end

--- Wait until status shows a leased address. @treturn string
function dhcp_lab.until_leased(it, name, but)
  return loop.until_true(function()
    local ip = it:address(name)
    return ip ~= "" and ip ~= "0.0.0.0" and ip ~= "::" and ip ~= but and ip
  end, 30, "a leased address of " .. name)
end

--- The MACs that answer ARP for an address, asked by the client: an array, each once.
function dhcp_lab.who_has(it, ip)
  local shown = it:on("client", "arping", "-c", "1", "-w", "1", "-b", "-I", "eth0", ip).output
  local list, seen = {}, {}
  for mac in shown:lower():gmatch("%x%x:%x%x:%x%x:%x%x:%x%x:%x%x") do
    if not seen[mac] then list[#list + 1] = mac end
    seen[mac] = true
  end
  return list
end

--- The macvlans of a node, as ip(8) shows them: an array of names.
function dhcp_lab.macvlans(it, node)
  local list = {}
  local shown = it:on(node or "node1", "ip", "-o", "link", "show", "type", "macvlan").output
  for name in shown:gmatch("%d+: ([^@:]+)@") do list[#list + 1] = name end
  return list
end

--- Wait for an Event. @treturn string  its message
function dhcp_lab.until_event(it, name, reason, text)
  return loop.until_true(function() return it:has_event(name, reason, text) end, 30,
    ("Event %s %s of %s"):format(reason, text or "", name))
end

--- The annotation of the lease, or nil.
function dhcp_lab.record(it, name)
  local object = it:get(name)
  return object and object.metadata.annotations and object.metadata.annotations["moonlb.io/lease"]
end

--- Wait until the lease was renewed `count` times: its record has so many other times than now.
function dhcp_lab.until_renewed(it, name, count)
  local last = dhcp_lab.record(it, name)
  for _ = 1, count do
    loop.until_true(function() return dhcp_lab.record(it, name) ~= last end, 30, "renewed")
    last = dhcp_lab.record(it, name)
  end
end

--- Kea: the leases that it has given.
function dhcp_lab.leases(server)
  local answer = server:command("lease4-get-all")
  return answer.arguments and answer.arguments.leases or {}
end

--- Kea: give the address to another client, so that ours is told NAK (lab notes: lease4-wipe alone does not do it).
function dhcp_lab.take_away(server, ip)
  server:command("lease4-update", { ["ip-address"] = ip, ["hw-address"] = "02:00:00:00:00:77",
    ["client-id"] = "01:02:00:00:00:00:77", ["subnet-id"] = 1, ["valid-lft"] = 3600 })
end

return dhcp_lab
