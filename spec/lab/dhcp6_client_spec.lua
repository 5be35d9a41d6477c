-- The DHCPv6 client, at the level of its binding, with Kea and dnsmasq; tshark decodes what we send.
--
--     server fd77::1 ── veth ── eth0 here, macvlans on it
local dhcp6 = require("moonlb.core.dhcp6")
local driver = require("spec.support.dhcp_driver")
local loop = require("spec.support.loop")
local netns = require("spec.support.netns")
local process = require("moonlb.sandbox.process")
local pulse = require("moonlb.core.pulse")
local servers = require("spec.support.dhcp_servers")
local uv = require("luv")
require("moonlb.core.log").configure({ level = "error" })

local SCRIPT = [[
set -e
ip netns add server
ip -n server link set lo up
ip link add eth0 type veth peer name eth0 netns server
ip link set eth0 up
ip -n server link set eth0 addrgenmode none up
ip -n server address add fe80::1/64 dev eth0 nodad
ip -n server address add fd77::1/64 dev eth0 nodad
]]

local parent
local running

-- A test with a server of that kind; all clients and servers end with it.
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
  local all = { is_ipv6 = true }
  for field, value in pairs(options or {}) do all[field] = value end
  local it = driver.new(name, parent, all)
  running[#running + 1] = it
  return it
end

-- Let waits that RFC 8415 makes at random, or that are long, be over at once.
local function hurry(it)
  it.skew = it.skew + it.client:deadline() - it:now()
  it:call("tick")
end

for _, kind in ipairs({ "kea6", "dnsmasq6" }) do
  describe("with " .. kind, function()
    it("binds, renews three times, rebinds, releases", test(kind, {}, function(server)
      local it = client("web")
      local lease = it:bind()
      assert.matches("^fd77::1%x%x%x$", lease.address)
      assert.same({ 600, "bound" }, { lease.seconds, it.client:state() })
      if kind == "kea6" then assert.same({ 200, 400, 450 }, { lease.t1, lease.t2, lease.preferred }) end
      for _ = 1, 3 do
        it:skip_to("t1")
        assert.equal("renewing", it.client:state())
        local bound = it:until_event("bound")
        assert.same({ lease.address, false, false }, { bound.lease.address, bound.is_new, bound.is_changed })
      end
      it:skip_to("t2")
      assert.equal("rebinding", it.client:state())
      assert.equal(lease.address, it:until_event("bound").lease.address)
      it:call("release")
      loop.until_true(function() return it.client:state() == "ended" end, 10, "the server's REPLY to RELEASE")
      server:until_said(kind == "kea6" and "DHCP6_RELEASE_NA " or "DHCPRELEASE(eth0)")
      assert.same({ 0, 0, 1 }, { it.client:stats().bad, it.client:stats().refused, it.client:stats().sent.release })
    end))

    it("confirms a lease of before and learns how long it lasts", test(kind, {}, function()
      local lease = client("web"):bind()
      running[#running]:close()
      local again = client("web", { lease = { address = lease.address } })
      again:call("start")
      assert.equal("confirming", again.client:state())
      assert.equal(lease.address, again:until_event("bound").lease.address)
      assert.is_nil(again.client:stats().sent.solicit)
    end))

    it("learns that another link's address is not ours, and gets a good one", test(kind, {}, function()
      local it = client("web", { lease = { address = "fd99::9" } })
      it:call("start")
      assert.equal("nak", it:until_event("lost").reason)
      assert.matches("^fd77::1%x%x%x$", it:until_event("bound").lease.address)
    end))

    it("declines an address in use and gets another one", test(kind, {}, function(server)
      local used
      local it = client("web", { is_free = function(address)
        used = used or address
        return address ~= used
      end })
      it:call("start")
      assert.equal("declined", it:until_event("lost").reason)
      server:until_said(kind == "kea6" and "DHCP6_DECLINE_LEASE" or "DHCPDECLINE(eth0)")
      it.skew = it.skew + 10
      it:call("tick")
      assert.not_equal(used, it:until_event("bound").lease.address)
    end))
  end)
end

describe("with kea6", function()
  it("gets the address that is reserved for its DUID",
    test("kea6", { reserve = { duid = dhcp6.duid("lab", "default", "db"), address = "fd77::db" } }, function()
      assert.equal("fd77::db", client("db"):bind().address)
    end))

  it("is reached at a link-local address that the pulse thread alone answers for", test("kea6", {}, function()
    local p = assert(pulse.start({ on_event = function() end }))
    local alive = uv.new_timer()
    alive:start(50, 50, function() p:alive() end)
    local it = client("web", { pulse = p })
    it:bind()
    local lines = netns.run("ip", "-6", "address", "show", "dev", "dhcp" .. it.number)
    alive:close()
    p:close()
    assert.is_nil(lines:find("fe80", 1, true))
  end))

  it("is renewed in time when leases are of seconds", test("kea6", { lease = 6, t1 = 2, t2 = 4 }, function()
    local it = client("web")
    local lease = it:bind()
    for _ = 1, 2 do
      local bound = it:until_event("bound")
      assert.same({ lease.address, false }, { bound.lease.address, bound.is_new })
    end
    assert.matches("too short for RFC 8415's 10 s", it:until_event("note").message)
  end))

  it("asks anew, for the same address, when the server has forgotten the lease (NoBinding)",
    test("kea6", {}, function(server)
      local it = client("web")
      local lease = it:bind()
      server:command("lease6-wipe")
      it:skip_to("t1")
      assert.equal(lease.address, it:until_event("bound").lease.address)
      for _, event in ipairs(it.events) do assert.not_equal("lost", event.type) end
    end))

  it("loses the address when the lease ends in silence, and has it again when the server is back",
    test("kea6", {}, function(server)
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
      running[#running + 1] = servers.start("kea6", "server", { folder = server.folder })
      hurry(it)
      assert.equal(lease.address, it:until_event("bound").lease.address)
    end))
end)

describe("tshark", function()
  local FIELDS = { "dhcpv6.msgtype", "eth.dst", "ipv6.src", "ipv6.dst", "udp.srcport", "udp.dstport",
    "udp.checksum.status", "dhcpv6.iaaddr.ip", "dhcpv6.duid.type", "_ws.malformed" }

  local function decode(path, filter)
    local argv = { "tshark", "-r", path, "-o", "udp.check_checksum:TRUE", "-Y", filter, "-T", "fields", "-E",
      "separator=|",
      "-E", "occurrence=f" }
    for _, field in ipairs(FIELDS) do
      argv[#argv + 1], argv[#argv + 2] = "-e", field
    end
    local found = {}
    for line in assert(process.run(argv)).output:gmatch("[^\n]+") do
      if line:find("|", 1, true) then found[#found + 1] = line end
    end
    return found
  end

  it("decodes every message that we send, checksums good", test("kea6", {}, function()
    local path = os.tmpname()
    local dump = assert(process.start({ "ip", "netns", "exec", "server", "tcpdump", "-U", "-n", "-i", "eth0", "-w",
      path, "udp dst port 547" }))
    assert(dump:wait_for(function() return dump:output():find("listening on") end, 10), dump:output())
    local used
    local it = client("web", { fqdn = "web.example.org", is_free = function(address)
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
    hurry(it)
    loop.until_true(function() return it.client:state() == "bound" end, 10, "CONFIRM answered")
    it:call("release")
    local source = dhcp6.link_local(it.mac)
    local function line(kind, subject)
      return table.concat({ kind, "33:33:00:01:00:02", source, "ff02::1:2", "546", "547", "1", subject or "", "4", "" },
        "|")
    end
    local wanted = { line(1), line(3, used), line(9, used), line(1), line(3, address), line(5, address),
      line(6, address), line(4, address), line(8, address) }
    local found
    loop.until_true(function()
      found = decode(path, "eth.src == " .. it.mac)
      return #found >= #wanted
    end, 15, "9 messages in the capture")
    dump:kill("sigterm")
    dump:wait(5)
    os.remove(path)
    assert.same(wanted, found)
  end))
end)
