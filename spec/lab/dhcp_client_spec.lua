-- The DHCPv4 client, at the level of its binding, with servers that are not ours. Who judges: their answers, their
-- logs, and tshark, which decodes what we send.
--
--     switch (br0) ── eth0 here, macvlans on it ── server 10.77.0.1 ── other 10.77.0.3
local core = require("moonlb.core.dhcp")
local driver = require("spec.support.dhcp_driver")
local loop = require("spec.support.loop")
local netns = require("spec.support.netns")
local process = require("moonlb.sandbox.process")
local servers = require("spec.support.dhcp_servers")
require("moonlb.core.log").configure({ level = "error" })

local SCRIPT = [[
set -e
for name in switch server other; do ip netns add $name; ip -n $name link set lo up; done
ip -n switch link add br0 type bridge forward_delay 0 stp_state 0
ip -n switch link set br0 up
port() { ip -n switch link set $1 addrgenmode none master br0 up; }
ip link add eth0 type veth peer name p-node netns switch; port p-node
for name in server other; do
  ip -n $name link add eth0 type veth peer name p-$name netns switch; port p-$name
  ip -n $name link set eth0 up
done
ip link set eth0 up
echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_ignore
echo 2 >/proc/sys/net/ipv4/conf/eth0/arp_announce
ip address add 10.77.0.2/24 dev eth0
ip -n server address add 10.77.0.1/24 dev eth0
ip -n other address add 10.77.0.3/24 dev eth0
]]

local parent
local running

-- A test with a server of that kind in `server`; all clients and servers end with it.
local function test(kind, options, body)
  return loop.test(function()
    if not parent then
      netns.run("sh", "-c", SCRIPT)
      parent = netns.index("eth0")
    end
    running = { servers.start(kind, "server", options) }
    local ok, err = xpcall(body, debug.traceback, running[1])
    for _, thing in ipairs(running) do (thing.close or thing.stop)(thing) end
    if not ok then error(tostring(err) .. "\n" .. running[1].process:output():sub(-3000), 0) end
  end, 60)
end

local function client(name, options)
  local it = driver.new(name, parent, options)
  running[#running + 1] = it
  return it
end

local function also(kind, host, options)
  local it = servers.start(kind, host, options)
  running[#running + 1] = it
  return it
end

local function is_in_pool(address)
  local last = tonumber(address:match("^10%.77%.0%.(%d+)$"))
  return last ~= nil and last >= 150 and last <= 160
end

-- What each does otherwise than the others: T1 and T2 said by the server; what its log says of a RELEASE and a DECLINE.
local traits = {
  kea = { t1 = 200, t2 = 400, released = "DHCP4_RELEASE", declined = "DHCP4_DECLINE_LEASE" },
  dnsmasq = { t1 = 300, released = "DHCPRELEASE(eth0)", declined = "DHCPDECLINE(eth0)" },
  dhcpd = { released = "DHCPRELEASE of", declined = "DHCPDECLINE of" },
  udhcpd = {},
}

for _, kind in ipairs(servers.kinds) do
  local trait = traits[kind]

  describe("with " .. kind, function()
    it("binds, renews by unicast, rebinds by broadcast, releases", test(kind, {}, function(server)
      local it = client("web", { host_name = "web" })
      local lease = it:bind()
      assert.is_true(is_in_pool(lease.address))
      assert.same({ 24, "10.77.0.1", "10.77.0.1", 600 }, { lease.prefix, lease.router, lease.server, lease.seconds })
      if trait.t1 then assert.equal(trait.t1, lease.t1) end
      if trait.t2 then assert.equal(trait.t2, lease.t2) end
      for _ = 1, 3 do
        it:skip_to("t1")
        assert.equal("renewing", it.client:state())
        local bound = it:until_event("bound")
        assert.same({ lease.address, false, false }, { bound.lease.address, bound.is_new, bound.is_changed })
      end
      if kind ~= "udhcpd" then	-- it ACKs no REQUEST without server identifier that it did not get by unicast
        it:skip_to("t2")
        assert.equal("rebinding", it.client:state())
        assert.equal(lease.address, it:until_event("bound").lease.address)
      end
      it:call("release", "gone")
      if trait.released then server:until_said(trait.released) end
      assert.equal(0, it.client:stats().bad)
      assert.equal(0, it.client:stats().refused)
    end))

    it("gets its address again by INIT-REBOOT", test(kind, {}, function()
      local lease = client("web"):bind()
      running[#running]:close()
      local again = client("web", { lease = { address = lease.address } })
      again:call("start")
      assert.equal("rebooting", again.client:state())
      assert.equal(lease.address, again:until_event("bound").lease.address)
      assert.is_nil(again.client:stats().sent.discover)
    end))

    it("is refused another network's address by INIT-REBOOT, and gets a good one", test(kind, {}, function()
      local it = client("web", { lease = { address = "192.168.9.9" } })
      it:call("start")
      assert.equal("nak", it:until_event("lost").reason)
      assert.is_true(is_in_pool(it:until_event("bound").lease.address))
    end))

    it("declines an address in use and gets another one 10 s later", test(kind, {}, function(server)
      local used
      local it = client("web", { is_free = function(address)
        used = used or address
        return address ~= used
      end })
      it:call("start")
      assert.equal("declined", it:until_event("lost").reason)
      if trait.declined then server:until_said(trait.declined) end
      it.skew = it.skew + 10
      it:call("tick")
      assert.not_equal(used, it:until_event("bound").lease.address)
    end))

    it("gets the address reserved for its client-id (udhcpd: for its MAC), also when asked to broadcast",
      test(kind, { reserve = { client_id = core.client_id("lab", "default", "db"),
        mac = core.mac("lab", "default", "db"), address = "10.77.0.200" } }, function()
        assert.equal("10.77.0.200", client("db", { broadcast = true }):bind().address)
        assert.is_true(is_in_pool(client("web"):bind().address))
      end))
  end)
end

describe("a lease of seconds", function()
  it("is renewed again and again in time (Kea, 4 s)", test("kea", { lease = 4, t1 = 1, t2 = 3 }, function()
    local it = client("web")
    local lease = it:bind()
    for _ = 1, 3 do
      local bound = it:until_event("bound")
      assert.same({ lease.address, false }, { bound.lease.address, bound.is_new })
    end
    assert.matches("too short for RFC 2131's 60 s", it:until_event("note").message)
    assert.is_nil(it.client:stats().received.nak)
  end))
end)

describe("a server", function()
  local function steal(server, address)
    server:command("lease4-update", { ["ip-address"] = address, ["hw-address"] = "02:00:00:00:00:99",
      ["client-id"] = "00:aa:bb", ["subnet-id"] = 1, ["force-create"] = true })
  end

  it("that gave the address to another refuses the renewal: lost, and another one", test("kea", {}, function(server)
    local it = client("web")
    local lease = it:bind()
    steal(server, lease.address)
    it:skip_to("t1")
    local lost = it:until_event("lost")
    assert.same({ "nak", lease.address }, { lost.reason, lost.address })
    local bound = it:until_event("bound")
    assert.not_equal(lease.address, bound.lease.address)
    assert.same({ true, true }, { bound.is_new, bound.is_changed })
  end))

  it("that is silent costs the address when the lease expires; when it is back, the address is ours again",
    test("kea", {}, function(server)
      local it = client("web")
      local lease = it:bind()
      server:stop(true)
      it:skip_to("t1")
      it:skip_to("t2")
      assert.equal("rebinding", it.client:state())
      it:skip_to("seconds")
      assert.equal("expired", it:until_event("lost").reason)
      it.skew = it.skew + 3600
      it:call("tick")
      assert.equal("selecting", it.client:state())
      also("kea", "server", { folder = server.folder })
      it.skew = it.skew + 65
      it:call("tick")
      assert.equal(lease.address, it:until_event("bound").lease.address)
    end))

  it("whose pool is empty gives nothing, and the client asks on", test("kea", { last = "10.77.0.150" }, function(server)
    assert.equal("10.77.0.150", client("first"):bind().address)
    local it = client("second")
    it:call("start")
    server:until_said("ALLOC_ENGINE_V4_ALLOC_FAIL")
    assert.equal("selecting", it.client:state())
    running[2]:call("release")
    server:until_said("DHCP4_RELEASE")
    it.skew = it.skew + 6
    it:call("tick")
    assert.equal("10.77.0.150", it:until_event("bound").lease.address)
  end))

  it("beside another one: the lease is of one of both, and is renewed with that one", test("kea", {}, function()
    also("dnsmasq", "other", { first = "10.77.0.170", last = "10.77.0.180", router = "10.77.0.3" })
    local it = client("web")
    local lease = it:bind()
    it:skip_to("t1")
    assert.same({ lease.address, lease.server }, { it:until_event("bound").lease.address, it.client:lease().server })
    it:call("link_up")
    it:until_event("check")
    assert.equal(lease.address, it:until_event("bound").lease.address)
  end))
end)

describe("a relay (dnsmasq), the server (Kea) beyond it", function()
  local RELAY = [[
set -e
for name in relay far; do ip netns add $name; ip -n $name link set lo up; done
ip -n relay link add eth0 type veth peer name p-relay netns switch
ip -n switch link set p-relay addrgenmode none master br0 up
ip -n relay link add eth1 type veth peer name eth0 netns far
ip -n relay link set eth0 up
ip -n relay link set eth1 up
ip -n far link set eth0 up
ip -n relay address add 10.77.0.4/24 dev eth0
ip -n relay address add 10.78.0.1/24 dev eth1
ip -n far address add 10.78.0.2/24 dev eth0
ip -n far route add 10.77.0.0/24 via 10.78.0.1
ip netns exec relay sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
]]

  it("binds through it, renews by unicast by way of the relay's station, rebinds, releases",
    test("dnsmasq", { first = "10.77.0.250", last = "10.77.0.250" }, function(near)
      near:stop(true)	-- only the far one answers
      netns.run("sh", "-c", RELAY)
      local far = also("kea", "far", { socket_type = "udp", router = "10.77.0.4" })
      local relay = assert(process.start({ "ip", "netns", "exec", "relay", "dnsmasq", "--keep-in-foreground",
        "--log-facility=-", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file=" .. far.folder .. "/relay",
        "--dhcp-relay=10.77.0.4,10.78.0.2" }))
      assert(relay:wait_for(function() return relay:output():find("DHCP relay", 1, true) end, 10), relay:output())
      local it = client("web")
      local lease = it:bind()
      assert.is_true(is_in_pool(lease.address))
      assert.equal("10.78.0.2", lease.server)
      assert.equal(netns.json("-n", "relay", "link", "show", "dev", "eth0")[1].address, lease.server_mac)
      it:skip_to("t1")
      assert.equal("renewing", it.client:state())
      assert.equal(lease.address, it:until_event("bound").lease.address)
      it:skip_to("t2")
      assert.equal("rebinding", it.client:state())
      assert.equal(lease.address, it:until_event("bound").lease.address)
      it:call("release")
      far:until_said("DHCP4_RELEASE")
      relay:kill("sigterm")
      relay:wait(5)
    end))
end)

describe("tshark", function()
  local FIELDS = { "dhcp.option.dhcp", "eth.dst", "ip.src", "ip.dst", "udp.srcport", "udp.dstport",
    "ip.checksum.status", "udp.checksum.status", "dhcp.ip.client", "dhcp.option.requested_ip_address",
      "dhcp.option.dhcp_server_id",
    "dhcp.flags.bc", "dhcp.option.hostname", "dhcp.option.dhcp_max_message_size", "dhcp.client_id.duid_type",
    "_ws.malformed" }

  local function decode(path, filter)
    local argv = { "tshark", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y", filter,
      "-T", "fields", "-E", "separator=|" }
    for _, field in ipairs(FIELDS) do
      argv[#argv + 1], argv[#argv + 2] = "-e", field
    end
    local found = {}
    for line in assert(process.run(argv)).output:gmatch("[^\n]+") do
      if line:find("|", 1, true) then
        local frame, i = {}, 0
        for value in (line .. "|"):gmatch("([^|]*)|") do
          i = i + 1
          frame[FIELDS[i]] = value ~= "" and value or nil
        end
        found[#found + 1] = frame
      end
    end
    return found
  end

  it("decodes every message that we send, as we meant it, checksums good", test("kea", {}, function()
    local path = os.tmpname()
    local dump = assert(process.start({ "ip", "netns", "exec", "server", "tcpdump", "-U", "-n", "-i", "eth0", "-w",
      path, "udp dst port 67" }))
    assert(dump:wait_for(function() return dump:output():find("listening on") end, 10), dump:output())
    local used
    local it = client("web", { host_name = "web", is_free = function(address)
      used = used or address
      return address ~= used
    end })
    it:call("start")
    it:until_event("lost")
    it.skew = it.skew + 10
    it:call("tick")
    local address = it:until_event("bound").lease.address
    it:skip_to("t1")
    it:until_event("bound")
    it:skip_to("t2")
    it:until_event("bound")
    it:call("link_up")
    it:until_event("bound")
    it:call("release", "gone")
    local frames
    loop.until_true(function()
      frames = decode(path, "eth.src == " .. it.mac)
      return #frames >= 9
    end, 15, "9 messages in the capture")
    dump:kill("sigterm")
    dump:wait(5)
    os.remove(path)
    local all, any = "ff:ff:ff:ff:ff:ff", "255.255.255.255"
    local server_mac = netns.json("-n", "server", "link", "show", "dev", "eth0")[1].address
    local function frame(kind, to, source, destination, ciaddr, requested, server, is_brief)
      return { ["dhcp.option.dhcp"] = kind, ["eth.dst"] = to, ["ip.src"] = source, ["ip.dst"] = destination,
        ["udp.srcport"] = "68", ["udp.dstport"] = "67", ["ip.checksum.status"] = "1", ["udp.checksum.status"] = "1",
        ["dhcp.ip.client"] = ciaddr, ["dhcp.option.requested_ip_address"] = requested,
        ["dhcp.option.dhcp_server_id"] = server, ["dhcp.flags.bc"] = "0", ["dhcp.client_id.duid_type"] = "4",
        ["dhcp.option.hostname"] = not is_brief and "web" or nil,
        ["dhcp.option.dhcp_max_message_size"] = not is_brief and "1472" or nil }
    end
    local none, server = "0.0.0.0", "10.77.0.1"
    assert.same({
      frame("1", all, none, any, none),
      frame("3", all, none, any, none, used, server),
      frame("4", all, none, any, none, used, server, true),
      frame("1", all, none, any, none),
      frame("3", all, none, any, none, address, server),
      frame("3", server_mac, address, server, address),
      frame("3", all, address, any, address),
      frame("3", all, none, any, none, address),
      frame("7", server_mac, address, server, address, nil, server, true),
    }, frames)
  end))
end)

describe("many", function()
  it("200 clients on one interface at once are bound, each waked by its own answers alone",
    test("kea", { first = "10.77.2.1", last = "10.77.2.250", network = "10.77.0.0", prefix = 16, mask = "255.255.0.0" },
      function()
        local all, seen = {}, {}
        for i = 1, 200 do all[i] = client("web" .. i, { broadcast = true }) end
        for _, it in ipairs(all) do it:call("start") end
        for _, it in ipairs(all) do
          local address = it:until_event("bound", 40).lease.address
          assert.is_nil(seen[address])
          seen[address] = true
        end
        for _, it in ipairs(all) do
          assert.same({ 0, 0 }, { it.client:stats().bad, it.client:stats().refused })
          -- OFFERs and ACKs of its own repeated questions may come late; none of the other 199's came here.
          assert.is_true(it.client:stats().foreign <= 4, it.client:stats().foreign .. " foreign")
        end
      end))
end)
