-- A lease outlives its owner: another node, the same node after a crash, and many leases at once.
local dhcp_lab = require("spec.support.dhcp_lab")
local loop = require("spec.support.loop")

local WANTED = dhcp_lab.WANTED

local function owner(it, name)
  local object = it:get(name)
  return object.metadata.annotations["kube-vip.io/vipHost"]
end

-- Two nodes and a Service `web` with a lease: its address, the owner, the other one, the programs by node.
local function two_nodes(it)
  local programs = { node1 = it:moonlb("node1"), node2 = it:moonlb("node2") }
  it:service("web", WANTED)
  local ip = dhcp_lab.until_leased(it, "web")
  local first = owner(it, "web")
  return ip, first, first == "node1" and "node2" or "node1", programs
end

local function until_owned(it, node)
  loop.until_true(function() return owner(it, "web") == node end, 20, "owned by " .. node)
end

describe("DHCP over a failover", function()
  it("keeps address and MAC when the owner is killed: announced from the record, confirmed by INIT-REBOOT",
    dhcp_lab.test("kea", { lease = 600 }, function(it, server)
      local ip, first, second, programs = two_nodes(it)
      local before = dhcp_lab.who_has(it, ip)
      it:signal(programs[first], "sigkill")
      until_owned(it, second)
      assert.same(before, dhcp_lab.who_has(it, ip))
      assert.equal(ip, it:address("web"))
      assert.matches("hello from " .. second, it:curl(ip))
      loop.until_true(function() return server:has_said("DHCP4_INIT_REBOOT") end, 10, "INIT-REBOOT")
      assert.equal(1, #dhcp_lab.leases(server))
      assert.is_nil(it:has_event("web", "LeaseLost"))
    end, { count = 2 }))

  it("keeps serving from the record while no server answers the new owner", dhcp_lab.test("kea", { lease = 600 },
    function(it, server)
      local ip, first, second, programs = two_nodes(it)
      server:stop(true)
      it:signal(programs[first], "sigkill")
      until_owned(it, second)
      assert.equal(1, #dhcp_lab.who_has(it, ip))
      assert.matches("hello from " .. second, it:curl(ip))
      assert.equal(ip, it:address("web"))
    end, { count = 2 }))

  it("keeps the lease when the owner dies in the midst of renewing", dhcp_lab.test("kea",
    { lease = 30, t1 = 2, t2 = 25 }, function(it, server)
      local ip, first, second, programs = two_nodes(it)
      dhcp_lab.until_renewed(it, "web", 1)
      server:stop(true)
      local last = dhcp_lab.record(it, "web")
      loop.until_true(function() return os.time() - tonumber(last:match("%d+$")) >= 3 end, 10, "T1 is over")
      it:signal(programs[first], "sigkill")
      until_owned(it, second)
      assert.equal(1, #dhcp_lab.who_has(it, ip))
      server:start()
      loop.until_true(function() return dhcp_lab.record(it, "web") ~= last end, 30, "renewed by the new owner")
      assert.equal(ip, it:address("web"))
    end, { count = 2 }))

  it("moves without a RELEASE when the owner stops, and leaves nothing there", dhcp_lab.test("kea", { lease = 600 },
    function(it, server)
      local ip, first, second, programs = two_nodes(it)
      it:signal(programs[first], "sigterm")
      until_owned(it, second)
      assert.matches("hello from ", it:curl(ip))
      assert.equal(0, programs[first]:wait(15))
      assert.same({}, dhcp_lab.macvlans(it, first))
      assert.equal(1, #dhcp_lab.macvlans(it, second))
      assert.equal(1, #dhcp_lab.who_has(it, ip))
      assert.is_false(server:has_said("DHCP4_RELEASE"))
    end, { count = 2 }))

  it("takes away a macvlan that a crash left, where another node serves by then", dhcp_lab.test("kea",
    { lease = 600 }, function(it)
      local ip, first, second, programs = two_nodes(it)
      it:signal(programs[first], "sigkill")
      until_owned(it, second)
      assert.equal(1, #dhcp_lab.macvlans(it, first))
      it:moonlb(first)
      loop.until_true(function() return #dhcp_lab.macvlans(it, first) == 0 end, 20, "swept")
      assert.equal(1, #dhcp_lab.who_has(it, ip))
      assert.matches("hello from " .. second, it:curl(ip))
    end, { count = 2 }))

  it("keeps the macvlan and the lease over a crash of the only node, and sweeps what nobody wants", dhcp_lab.test("kea",
    { lease = 600 }, function(it)
      local moonlb = it:moonlb()
      it:service("web", WANTED)
      it:service("other", WANTED)
      local ip = dhcp_lab.until_leased(it, "web")
      dhcp_lab.until_leased(it, "other")
      local function index()
        return it:on("node1", "ip", "-o", "address", "show", "to", ip).output:match("^(%d+):")
      end
      local before = index()
      it:signal(moonlb, "sigkill")
      moonlb:wait(5)
      it:delete("other")
      assert.equal(2, #dhcp_lab.macvlans(it))
      it:moonlb()
      loop.until_true(function() return #dhcp_lab.macvlans(it) == 1 end, 20, "swept")
      loop.until_true(function() return #dhcp_lab.who_has(it, ip) == 1 end, 20, "answered again")
      assert.equal(before, index())
      assert.equal(ip, it:address("web"))
    end))

  it("goes on after the node restarted", dhcp_lab.test("kea", { lease = 600 }, function(it)
    local moonlb = it:moonlb()
    it:service("web", WANTED)
    local ip = dhcp_lab.until_leased(it, "web")
    it:signal(moonlb, "sigkill")
    moonlb:wait(5)
    it:on("node1", "ip", "link", "delete", dhcp_lab.macvlans(it)[1])
    it:moonlb()
    loop.until_true(function() return #dhcp_lab.who_has(it, ip) == 1 end, 20, "answered again")
    assert.equal(ip, it:address("web"))
    assert.matches("hello from node1", it:curl(ip))
  end))

  it("serves 200 Services at once, each with an address and a MAC of its own", dhcp_lab.test("kea",
    { lease = 600, network = "10.77.0.0", first = "10.77.0.20", last = "10.77.0.240" }, function(it, server)
      it:moonlb()
      for i = 1, 200 do it:service("web" .. i, WANTED) end
      loop.until_true(function() return #dhcp_lab.leases(server) >= 200 end, 120, "200 leases")
      local seen = {}
      for i = 1, 200 do
        local ip = dhcp_lab.until_leased(it, "web" .. i)
        assert.is_nil(seen[ip])
        seen[ip] = true
      end
      assert.equal(200, #dhcp_lab.macvlans(it))
      for _, i in ipairs({ 1, 77, 200 }) do
        local ip = it:address("web" .. i)
        assert.equal(1, #dhcp_lab.who_has(it, ip))
        assert.matches("hello from node1", it:curl(ip))
      end
    end, { timeout = 240 }))
end)
