-- A Service gets its address from the LAN's DHCP server and keeps it: `moonlb run` on a node, servers that are not ours.
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")
local servers = require("spec.support.dhcp_servers")

local DHCP = { loadBalancerIP = "0.0.0.0" }

-- The macvlans of a node, as ip(8) shows them.
local function macvlans(it, name)
  local list = {}
  local shown = it:on(name or "node1", "ip", "-o", "link", "show", "type", "macvlan").output
  for found in shown:gmatch("%d+: ([^@:]+)") do list[#list + 1] = found end
  return list
end

-- The MACs that answer ARP for the address, each once.
local function who_has(it, ip)
  local shown = it:on("client", "arping", "-c", "1", "-w", "1", "-b", "-I", "eth0", ip).output
  local list, seen = {}, {}
  for mac in shown:gmatch("%x%x:%x%x:%x%x:%x%x:%x%x:%x%x") do
    if not seen[mac:lower()] then list[#list + 1] = mac:lower() end
    seen[mac:lower()] = true
  end
  return list
end

-- A test with a server of that kind.
local function with(kind, options, body, lab_options)
  return lab.test(function(it)
    local server = servers.start(it, kind, options)
    local ok, err = pcall(body, it, server)
    if not ok then io.stdout:write("--- ", kind, "\n", server:log(), "\n") end
    server:close()
    if not ok then error(err, 0) end
  end, lab_options)
end

local function until_leased(it, name)
  return loop.until_true(function()
    local ip = it:address(name)
    return ip ~= "" and ip ~= "0.0.0.0" and ip
  end, 20, "a leased address of " .. name)
end

describe("DHCP", function()
  it("shows 0.0.0.0, then the leased address, which one MAC answers for and the LAN reaches", with("kea", {},
    function(it, server)
      server:stop()
      it:moonlb()
      it:service("web", DHCP)
      it:until_address("web", "0.0.0.0")
      assert.equal("Proxy", it:get("web").status.loadBalancer.ingress[1].ipMode)
      server:start()
      local ip = until_leased(it, "web")
      assert.matches("^10%.77%.0%.15%d$", ip)
      local object = it:get("web")
      assert.equal("VIP", object.status.loadBalancer.ingress[1].ipMode)
      assert.matches("^" .. ip:gsub("%.", "%%.") .. " 10%.77%.0%.1 6 %d+$", object.metadata.annotations["moonlb.io/lease"])
      local macs = who_has(it, ip)
      assert.equal(1, #macs)
      assert.matches("^02:", macs[1])
      assert.equal(server:leases()[1]["hw-address"], macs[1])
      assert.matches("hello from node1", it:curl(ip))
      loop.until_true(function() return it:has_event("web", "LeaseBound", ip .. " leased from 10.77.0.1 for 6 s") end, 10)
    end))
end)
