-- A Service gets an IPv6 address from the LAN's DHCPv6 server (`::`), and keeps it.
local dhcp_lab = require("spec.support.dhcp_lab")
local loop = require("spec.support.loop")

local WANTED = { loadBalancerIP = "::", ipFamilies = { "IPv6" }, ipFamilyPolicy = "SingleStack" }

-- The MACs that answer neighbour solicitations for the address: an array, each once.
local function who_has(it, ip)
  local shown = it:on("client", "ndisc6", "-m", "-w", "300", "-r", "1", ip, "eth0").output
  local list, seen = {}, {}
  for mac in shown:lower():gmatch("%x%x:%x%x:%x%x:%x%x:%x%x:%x%x") do
    if not seen[mac] then list[#list + 1] = mac end
    seen[mac] = true
  end
  return list
end

describe("DHCPv6", function()
  it("shows ::, then the leased address, which one MAC answers for and the LAN reaches", dhcp_lab.test("kea6", {},
    function(it, server)
      server:stop(true)
      it:moonlb()
      it:service("web", WANTED)
      it:until_address("web", "::")
      assert.equal("Proxy", it:get("web").status.loadBalancer.ingress[1].ipMode)
      server:start()
      local ip = dhcp_lab.until_leased(it, "web")
      assert.matches("^fd77::1%x+$", ip)
      local macs = who_has(it, ip)
      assert.equal(1, #macs)
      assert.matches("^02:", macs[1])
      assert.matches("hello from node1", it:curl(ip))
      assert.matches("^" .. ip .. " %x+ 6 %d+$", dhcp_lab.record(it, "web"))
      dhcp_lab.until_event(it, "web", "LeaseBound", ip)
      dhcp_lab.until_renewed(it, "web", 2)
      assert.equal(ip, it:address("web"))
      assert.is_nil(it:has_event("web", "LeaseLost"))
    end))

  it("gives the lease back when the Service is deleted, and leaves nothing", dhcp_lab.test("kea6", { lease = 600 },
    function(it, server)
      it:moonlb()
      it:service("web", WANTED)
      local ip = dhcp_lab.until_leased(it, "web")
      it:delete("web")
      loop.until_true(function() return #dhcp_lab.macvlans(it) == 0 end, 10, "no macvlan")
      loop.until_true(function() return server:has_said("DHCP6_RELEASE_NA") end, 10, "RELEASE")
      assert.same({}, who_has(it, ip))
      assert.is_false(it:is_on_node(ip))
    end))

  it("keeps the lease over a failover", dhcp_lab.test("kea6", { lease = 600 }, function(it)
    local programs = { node1 = it:moonlb("node1"), node2 = it:moonlb("node2") }
    it:service("web", WANTED)
    local ip = dhcp_lab.until_leased(it, "web")
    local function owner() return it:get("web").metadata.annotations["kube-vip.io/vipHost"] end
    local first, before = owner(), who_has(it, ip)
    it:signal(programs[first], "sigkill")
    loop.until_true(function() return owner() ~= first end, 20, "another owner")
    assert.same(before, who_has(it, ip))
    assert.equal(ip, it:address("web"))
    assert.matches("hello from " .. owner(), it:curl(ip))
  end, { count = 2 }))
end)
