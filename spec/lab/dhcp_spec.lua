-- A Service gets its address from the LAN's DHCP server: `moonlb run` on a node, servers that are not ours.
local core = require("moonlb.core.dhcp")
local dhcp_lab = require("spec.support.dhcp_lab")
local loop = require("spec.support.loop")

local WANTED, MAC = dhcp_lab.WANTED, "02:00:00:00:00:22"

describe("DHCP", function()
  it("shows 0.0.0.0, then the leased address, which one MAC answers for and the LAN reaches",
    dhcp_lab.test("kea", {}, function(it, server)
      server:stop(true)
      it:moonlb()
      it:service("web", WANTED)
      it:until_address("web", "0.0.0.0")
      assert.equal("Proxy", it:get("web").status.loadBalancer.ingress[1].ipMode)
      server:start()
      local ip = dhcp_lab.until_leased(it, "web")
      assert.matches("^10%.77%.0%.15%d$", ip)
      assert.equal("VIP", it:get("web").status.loadBalancer.ingress[1].ipMode)
      assert.matches("^" .. ip:gsub("%.", "%%.") .. " 10%.77%.0%.1 6 %d+$", dhcp_lab.record(it, "web"))
      local macs = dhcp_lab.who_has(it, ip)
      assert.equal(1, #macs)
      assert.matches("^02:", macs[1])
      assert.equal(dhcp_lab.leases(server)[1]["hw-address"], macs[1])
      assert.matches("hello from node1", it:curl(ip))
      dhcp_lab.until_event(it, "web", "LeaseBound", ip .. " leased from 10.77.0.1 for 6 s on eth0")
      assert.is_nil(it:has_event("web", "DHCPUnavailable"))
    end))

  it("is what a pool of 0.0.0.0/32 means, and the annotation", dhcp_lab.test("kea", {}, function(it)
    it:moonlb()
    it:service("web")
    it:service("other", nil, { ["kube-vip.io/loadbalancerIPs"] = "0.0.0.0" })
    local ip, other = dhcp_lab.until_leased(it, "web"), dhcp_lab.until_leased(it, "other")
    assert.not_equal(ip, other)
    assert.not_same(dhcp_lab.who_has(it, ip), dhcp_lab.who_has(it, other))
    assert.matches("hello from node1", it:curl(other))
  end, { configmap = { ["cidr-demo"] = "0.0.0.0/32" } }))

  it("gets the address that the server keeps for its client-id, which the identity is part of",
    dhcp_lab.test("kea", { reserve = { client_id = core.client_id("here", "demo", "web"), address = "10.77.0.99" } },
      function(it)
        it:moonlb("node1", { "--identity", "here" })
        it:service("web", WANTED)
        assert.equal("10.77.0.99", dhcp_lab.until_leased(it, "web"))
      end))

  it("is another client in another cluster", dhcp_lab.test("kea",
    { reserve = { client_id = core.client_id("elsewhere", "demo", "web"), address = "10.77.0.99" } }, function(it)
      it:moonlb("node1", { "--identity", "here" })
      it:service("web", WANTED)
      assert.not_equal("10.77.0.99", dhcp_lab.until_leased(it, "web"))
    end))

  it("reaches a node whose rp_filter is strict", dhcp_lab.test("kea", {}, function(it)
    it:on("node1", "sysctl", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1")
    it:moonlb()
    it:service("web", WANTED)
    assert.matches("hello from node1", it:curl(dhcp_lab.until_leased(it, "web")))
  end))

  it("renews again and again, and answers all the time", dhcp_lab.test("kea", {}, function(it)
    it:moonlb()
    it:service("web", WANTED)
    local ip = dhcp_lab.until_leased(it, "web")
    local before = dhcp_lab.who_has(it, ip)
    for _ = 1, 3 do
      dhcp_lab.until_renewed(it, "web", 1)
      assert.equal(ip, it:address("web"))
      assert.same(before, dhcp_lab.who_has(it, ip))
    end
    assert.is_nil(it:has_event("web", "LeaseLost"))
    assert.is_nil(it:has_event("web", "Withdrawn"))
  end))

  it("gives the lease back when the Service is deleted, and leaves nothing", dhcp_lab.test("kea", { lease = 600 },
    function(it, server)
      it:moonlb()
      it:service("web", WANTED)
      local ip = dhcp_lab.until_leased(it, "web")
      assert.equal(1, #dhcp_lab.macvlans(it))
      local before = dhcp_lab.leases(server)[1]
      it:delete("web")
      loop.until_true(function() return #dhcp_lab.macvlans(it) == 0 end, 10, "no macvlan")
      assert.same({}, dhcp_lab.leases(server))
      assert.same({}, dhcp_lab.who_has(it, ip))
      -- The same client, to whom this server may give another address, now that it was released.
      it:service("web", WANTED)
      dhcp_lab.until_leased(it, "web")
      local after = dhcp_lab.leases(server)[1]
      assert.same({ before["hw-address"], before["client-id"] }, { after["hw-address"], after["client-id"] })
    end))

  it("gives a Service that is created again the address that it had, where the server can",
    dhcp_lab.test("dnsmasq", { lease = 600 }, function(it)
      it:moonlb()
      it:service("web", WANTED)
      local ip = dhcp_lab.until_leased(it, "web")
      local function delete(name)
        it:delete(name)
        loop.until_true(function() return #dhcp_lab.macvlans(it) == 0 end, 10, "no macvlan")
      end
      delete("web")
      -- dnsmasq picks by a hash of the MAC, one of ten: another Service may have the same, but not several of them.
      local others = 0
      repeat
        if others > 0 then delete("other" .. others) end
        others = others + 1
        it:service("other" .. others, WANTED)
      until dhcp_lab.until_leased(it, "other" .. others) ~= ip or others == 6
      it:service("web", WANTED)
      assert.equal(ip, dhcp_lab.until_leased(it, "web"))
    end))

  it("keeps the lease on a clean stop, leaves nothing on the node, and goes on with it at the next start",
    dhcp_lab.test("kea", { lease = 600 }, function(it, server)
      local moonlb = it:moonlb()
      it:service("web", WANTED)
      local ip = dhcp_lab.until_leased(it, "web")
      it:signal(moonlb, "sigterm")
      assert.equal(0, moonlb:wait(10))
      assert.same({}, dhcp_lab.macvlans(it))
      assert.equal("0\n0\n", it:on("node1", "sysctl", "-n", "net.ipv4.conf.eth0.arp_ignore",
        "net.ipv4.conf.eth0.arp_announce").output)
      assert.equal(1, #dhcp_lab.leases(server))
      assert.equal(ip, it:address("web"))
      it:moonlb()
      loop.until_true(function() return #dhcp_lab.who_has(it, ip) == 1 end, 15, "answered again")
      assert.is_true(server:has_said("INIT-REBOOT"))
      assert.equal(ip, it:address("web"))
    end))

  it("is known to the server as the annotations say", dhcp_lab.test("dnsmasq", { lease = 600 }, function(it, server)
    it:moonlb()
    it:service("web", WANTED, { ["kube-vip.io/hwaddr"] = MAC, ["kube-vip.io/requestedIP"] = "10.77.0.157",
      ["kube-vip.io/loadbalancerHostname"] = "shop", ["kube-vip.io/macvlanName"] = "shop0",
      ["kube-vip.io/dhcp-broadcast"] = "true", ["kube-vip.io/rp_filter"] = "0" })
    assert.equal("10.77.0.157", dhcp_lab.until_leased(it, "web"))
    assert.same({ "shop0" }, dhcp_lab.macvlans(it))
    assert.same({ MAC }, dhcp_lab.who_has(it, "10.77.0.157"))
    assert.equal("0\n", it:on("node1", "sysctl", "-n", "net.ipv4.conf.shop0.rp_filter").output)
    local file = assert(io.open(server.folder .. "/leases"))
    local lease = file:read("a")
    file:close()
    -- MAC, address, host name, client-id: the name's bytes.
    assert.matches(MAC .. " 10%.77%.0%.157 shop 73:68:6f:70", lease)
  end))

  it("says which annotation makes no sense, and goes on without it", dhcp_lab.test("kea", {}, function(it)
    it:moonlb()
    it:service("web", WANTED, { ["kube-vip.io/hwaddr"] = "01:00:5e:00:00:01" })
    dhcp_lab.until_leased(it, "web")
    dhcp_lab.until_event(it, "web", "AnnotationInvalid", "kube-vip.io/hwaddr")
  end))

  for _, kind in ipairs({ "dnsmasq", "dhcpd", "udhcpd" }) do
    it("binds with " .. kind, dhcp_lab.test(kind, { lease = 600 }, function(it)
      it:moonlb()
      it:service("web", WANTED)
      local ip = dhcp_lab.until_leased(it, "web")
      assert.equal(1, #dhcp_lab.who_has(it, ip))
      assert.matches("hello from node1", it:curl(ip))
    end))
  end
end)
