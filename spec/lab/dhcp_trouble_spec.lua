-- A lease among servers that fall silent, refuse, run dry or contradict each other.
local dhcp_lab = require("spec.support.dhcp_lab")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local servers = require("spec.support.dhcp_servers")
local temporary = require("spec.support.temporary")

local WANTED = dhcp_lab.WANTED

-- A Service `web` with a lease; its address.
local function leased(it)
  it:moonlb()
  it:service("web", WANTED)
  return dhcp_lab.until_leased(it, "web")
end

describe("DHCP in trouble", function()
  it("is held through T1 and T2 when the server is silent, goes when it expires, and comes back with the server",
    dhcp_lab.test("kea", { lease = 8, t1 = 2, t2 = 4 }, function(it, server)
      local ip = leased(it)
      server:stop(true)
      loop.until_true(function() return it:address("web") == "0.0.0.0" end, 30, "status 0.0.0.0")
      dhcp_lab.until_event(it, "web", "LeaseLost", ip)
      assert.same({}, dhcp_lab.who_has(it, ip))
      assert.is_nil(dhcp_lab.record(it, "web"))
      assert.equal("Proxy", it:get("web").status.loadBalancer.ingress[1].ipMode)
      server:start()
      assert.equal(ip, dhcp_lab.until_leased(it, "web"))
      assert.equal(1, #dhcp_lab.who_has(it, ip))
    end))

  it("goes on when the server comes back between T2 and the end", dhcp_lab.test("kea",
    { lease = 20, t1 = 2, t2 = 5 }, function(it, server)
      local ip = leased(it)
      server:stop(true)
      dhcp_lab.until_event(it, "web", "LeaseNote", "asking every server")
      server:start()
      dhcp_lab.until_renewed(it, "web", 1)
      assert.equal(ip, it:address("web"))
      assert.is_nil(it:has_event("web", "LeaseLost"))
    end))

  it("follows the server that answers a rebinding, whatever address that one gives", dhcp_lab.test("kea",
    { lease = 20, t1 = 2, t2 = 4, first = "10.77.0.150", last = "10.77.0.159" }, function(it, server)
      local ip = leased(it)
      server:stop(true)
      local second = servers.start("kea", "router", { lab = it, lease = 20, t1 = 2, t2 = 4, first = "10.77.0.180",
        last = "10.77.0.189" })
      local other = dhcp_lab.until_leased(it, "web", ip)
      assert.matches("^10%.77%.0%.18%d$", other)
      dhcp_lab.until_event(it, "web", "LeaseBound", other)
      assert.equal(1, #dhcp_lab.who_has(it, other))
      loop.until_true(function() return #dhcp_lab.who_has(it, ip) == 0 end, 10, "the former address is silent")
      second:stop()
    end))

  -- libfaketime stands for an operator, or an NTP client, that sets the node's clock: CLOCK_REALTIME alone.
  it("heeds no wall clock: a day ahead, then a day back, nothing is lost and nothing renewed at the wrong time",
    dhcp_lab.test("kea", { lease = 8, t1 = 2, t2 = 5 }, function(it)
      if program.moonlb():find("sanitize", 1, true) then pending("ASan and libfaketime both want to be first") end
      local clock = temporary.folder("moonlb-clock")
      local function set(offset)	-- in one step: libfaketime ends the program when it reads half a line
        local file = assert(io.open(clock .. "/next", "w"))
        file:write(offset, "\n")
        file:close()
        assert(os.rename(clock .. "/next", clock .. "/offset"))
      end
      set("+0")
      local library = it:on("node1", "sh", "-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1").output:match("%S+")
      it:moonlb("node1", {}, { "LD_PRELOAD=" .. library, "FAKETIME_TIMESTAMP_FILE=" .. clock .. "/offset",
        "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1" })
      it:service("web", WANTED)
      it:service("plain", { loadBalancerIP = "10.77.0.200" })
      local ip = dhcp_lab.until_leased(it, "web")
      it:until_address("plain", "10.77.0.200")
      for _, offset in ipairs({ "+1d", "-1d" }) do
        set(offset)
        dhcp_lab.until_renewed(it, "web", 2)
        assert.equal(ip, it:address("web"))
        assert.equal(1, #dhcp_lab.who_has(it, ip))
        assert.equal(1, #dhcp_lab.who_has(it, "10.77.0.200"))
      end
      assert.is_nil(it:has_event("web", "LeaseLost"))
      -- The record's time is that clock's: it was set indeed.
      assert.is_true(tonumber(dhcp_lab.record(it, "web"):match("%d+$")) < os.time() - 80000)
      temporary.remove(clock)
    end))

  it("obeys a NAK at renewal: the old address goes, another comes", dhcp_lab.test("kea", {}, function(it, server)
    local ip = leased(it)
    dhcp_lab.take_away(server, ip)
    local other = dhcp_lab.until_leased(it, "web", ip)
    dhcp_lab.until_event(it, "web", "LeaseLost", ip)
    assert.same({}, dhcp_lab.who_has(it, ip))
    assert.equal(1, #dhcp_lab.who_has(it, other))
    dhcp_lab.until_event(it, "web", "LeaseBound", other)
  end))

  it("obeys a NAK at INIT-REBOOT, after having announced from the record", dhcp_lab.test("kea", { lease = 600 },
    function(it, server)
      it.first = it:moonlb()
      it:service("web", WANTED)
      local ip = dhcp_lab.until_leased(it, "web")
      it:signal(it.first, "sigterm")
      it.first:wait(10)
      dhcp_lab.take_away(server, ip)
      it:moonlb()
      local other = dhcp_lab.until_leased(it, "web", ip)
      dhcp_lab.until_event(it, "web", "LeaseLost", ip)
      assert.same({}, dhcp_lab.who_has(it, ip))
      assert.equal(1, #dhcp_lab.who_has(it, other))
    end))

  it("declines an address that a stranger has, and takes another", dhcp_lab.test("kea", { lease = 600 },
    function(it, server)
      it:on("client", "ip", "address", "add", "10.77.0.150/32", "dev", "eth0")
      local ip = leased(it)
      assert.not_equal("10.77.0.150", ip)
      dhcp_lab.until_event(it, "web", "AddressConflict", "10.77.0.150, offered by DHCP, is in use by")
      assert.is_true(server:has_said("DHCP4_DECLINE_LEASE"))
    end))

  it("waits while the pool is empty, and takes what becomes free", dhcp_lab.test("kea",
    { first = "10.77.0.150", last = "10.77.0.150", lease = 600 }, function(it, server)
      server:command("lease4-add", { ["ip-address"] = "10.77.0.150", ["hw-address"] = "02:00:00:00:00:77" })
      it:moonlb()
      it:service("web", WANTED)
      it:until_address("web", "0.0.0.0")
      loop.until_true(function() return server:has_said("DHCP4_LEASE_ADVERT_FAIL")
        or server:has_said("ALLOC_ENGINE_V4_ALLOC_FAIL") end, 20, "the server has none")
      server:command("lease4-del", { ["ip-address"] = "10.77.0.150" })
      assert.equal("10.77.0.150", dhcp_lab.until_leased(it, "web"))
    end))

  it("binds with one of two servers", dhcp_lab.test("kea", { lease = 600 }, function(it)
    it:on("client", "true")
    local other = servers.start("dnsmasq", "client", { lab = it, first = "10.77.0.170", last = "10.77.0.180" })
    local ok, err = pcall(function()
      local ip = leased(it)
      assert.equal(1, #dhcp_lab.who_has(it, ip))
      it:delete("web")
    end)
    other:stop()
    if not ok then error(err, 0) end
  end))

  it("leaves nothing of a Service that is deleted while it asks", dhcp_lab.test("kea", {}, function(it, server)
    server:stop(true)
    it:moonlb()
    it:service("web", WANTED)
    it:until_address("web", "0.0.0.0")
    assert.equal(1, #dhcp_lab.macvlans(it))
    it:delete("web")
    loop.until_true(function() return #dhcp_lab.macvlans(it) == 0 end, 10, "no macvlan")
    server:start()
    it:service("other", WANTED)
    dhcp_lab.until_leased(it, "other")
    assert.equal(1, #dhcp_lab.leases(server))
  end))

  it("makes a macvlan that somebody removed again, with the same lease", dhcp_lab.test("kea", { lease = 600 },
    function(it)
      local ip = leased(it)
      local before = dhcp_lab.who_has(it, ip)
      it:on("node1", "ip", "link", "delete", dhcp_lab.macvlans(it)[1])
      loop.until_true(function() return #dhcp_lab.who_has(it, ip) == 1 end, 15, "answered again")
      assert.same(before, dhcp_lab.who_has(it, ip))
      assert.matches("hello from node1", it:curl(ip))
      assert.equal(ip, it:address("web"))
    end))

  it("survives a link flap, short or long, with the same lease", dhcp_lab.test("kea", { lease = 600 }, function(it)
    local ip = leased(it)
    for _, seconds in ipairs({ "0.2", "4" }) do
      it:on("switch", "sh", "-c", "ip link set p-node1 down; sleep " .. seconds .. "; ip link set p-node1 up")
      loop.until_true(function() return #dhcp_lab.who_has(it, ip) == 1 end, 15, "answered again")
      assert.matches("hello from node1", it:curl(ip))
      assert.equal(ip, it:address("web"))
    end
    assert.is_nil(it:has_event("web", "LeaseLost"))
  end))

  it("goes on when its parent is renamed, and when it is removed and made again", dhcp_lab.test("kea", {}, function(it)
    local ip = leased(it)
    it:on("node1", "ip", "link", "set", "eth0", "name", "lan0")
    dhcp_lab.until_renewed(it, "web", 2)
    assert.equal(ip, it:address("web"))
    assert.matches("hello from node1", it:curl(ip))
    it:on("node1", "ip", "link", "delete", "lan0")
    loop.until_true(function() return #dhcp_lab.macvlans(it) == 0 end, 10, "no macvlan")
    it:on("node1", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "p-node1", "netns", "/run/netns/switch")
    it:on("switch", "ip", "link", "set", "p-node1", "addrgenmode", "none", "master", "br0", "up")
    it:on("node1", "sh", "-c", "ip link set eth0 up && ip address add 10.77.0.2/24 dev eth0 && "
      .. "ip route add default via 10.77.0.1")
    loop.until_true(function() return #dhcp_lab.macvlans(it) == 1 end, 20, "a macvlan again")
    local now = dhcp_lab.until_leased(it, "web")
    loop.until_true(function() return #dhcp_lab.who_has(it, now) == 1 end, 20, "answered again")
    assert.matches("hello from node1", it:curl(now))
  end))
end)
