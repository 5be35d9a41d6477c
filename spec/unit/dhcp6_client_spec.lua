--- The DHCPv6 client (RFC 8415), the server and the clock played by hand.
local core = require("moonlb.core.dhcp6")
local playing = require("spec.support.dhcp6")

local ADDRESS, SERVER, OTHER_SERVER, DUID = playing.ADDRESS, playing.SERVER, playing.OTHER_SERVER, playing.DUID

local function soliciting(options)
  local exchange = playing.new(options)
  exchange:call("start")
  exchange:wait()
  return exchange
end

local function requesting(options)
  local exchange = soliciting(options)
  exchange:receive("advertise")
  exchange:wait()
  assert(exchange.client:state() == "requesting")
  return exchange
end

local function renewing()
  local exchange = playing.new():bind()
  exchange:wait()
  assert(exchange.client:state() == "renewing")
  return exchange
end

local function asked(exchange)
  local ia = exchange.last.message.ia
  return ia and ia.addresses[1] and ia.addresses[1].address
end

describe("a client without a lease", function()
  it("solicits within a second, collects for one, requests, checks and is bound (section 18.2)", function()
    local exchange = playing.new()
    exchange:call("start")
    assert.same({ "init", "" }, { exchange.client:state(), exchange:summary() })
    assert.is_true(exchange.client:deadline() >= 1000 and exchange.client:deadline() <= 1001)
    exchange:wait()
    assert.same({ "selecting", "send solicit" }, { exchange.client:state(), exchange:summary() })
    local solicited = exchange.now
    exchange:receive("advertise")
    assert.equal("", exchange:summary())
    exchange:wait()
    assert.is_true(exchange.now - solicited > 1 and exchange.now - solicited < 1.11)
    assert.same({ "requesting", "send request" }, { exchange.client:state(), exchange:summary() })
    assert.same({ SERVER, ADDRESS, DUID }, { exchange.last.message.server, asked(exchange),
      exchange.last.message.client })
    local requested = exchange.now
    exchange.now = exchange.now + 0.25
    exchange:receive("reply")
    assert.same({ { type = "check", address = ADDRESS } }, exchange.actions)
    exchange:call("checked", true)
    local bound = exchange:action("bound")
    assert.same({ true, false }, { bound.is_new, bound.is_changed })
    assert.is_true(math.abs(bound.lease.at - requested) < 0.001)
    bound.lease.at = nil
    assert.same({ address = ADDRESS, server = SERVER, seconds = 3600, preferred = 1800, t1 = 900, t2 = 1440 },
      bound.lease)
  end)

  it("sends to all servers from its link-local address, ports 546 and 547 (sections 7.1, 7.2)", function()
    local exchange = soliciting()
    assert.same({ "33:33:00:01:00:02", "ff02::1:2", playing.SOURCE, 546, 547 }, { exchange.last.destination_mac,
      exchange.last.destination, exchange.last.source, exchange.last.source_port, exchange.last.destination_port })
  end)

  it("says how long it asks, 0 at first (section 21.9)", function()
    local exchange = soliciting()
    assert.equal(0, exchange.last.message.elapsed)
    local first = exchange.now
    exchange:wait()
    assert.is_true(math.abs(exchange.last.message.elapsed - (exchange.now - first) * 100) <= 1)
  end)

  it("takes preference 255 at once (section 18.2.9), and the highest else", function()
    local exchange = soliciting()
    exchange:receive("advertise", { preference = 255 })
    assert.equal("send request", exchange:summary())
    exchange = soliciting()
    exchange:receive("advertise", { preference = 1 })
    exchange:receive("advertise", { preference = 9, server = OTHER_SERVER })
    exchange:receive("advertise", { preference = 2 })
    exchange:wait()
    assert.equal(OTHER_SERVER, exchange.last.message.server)
  end)

  it("takes a late ADVERTISE at once (section 18.2.1)", function()
    local exchange = soliciting()
    exchange:wait()
    exchange:receive("advertise")
    assert.equal("send request", exchange:summary())
  end)

  it("prefers the address that it wishes for, among equals", function()
    local exchange = soliciting({ requested = "fd77::9" })
    assert.equal("fd77::9", asked(exchange))
    exchange:receive("advertise")
    exchange:receive("advertise", { server = OTHER_SERVER },
      { addresses = { { address = "fd77::9", preferred = 10, valid = 20 } } })
    exchange:wait()
    assert.same({ OTHER_SERVER, "fd77::9" }, { exchange.last.message.server, asked(exchange) })
  end)

  it("repeats SOLICIT after 1, 2, 4... up to 120 s, a tenth more or less, for ever (section 15)", function()
    local exchange = soliciting()
    local before, wait = exchange.now, 1
    for i = 1, 30 do
      exchange:wait()
      local took = exchange.now - before
      assert.equal("solicit", exchange.last.message.type)
      local least = i == 1 and 1 or math.min(wait * 1.9, 108)
      assert.is_true(took >= least - 0.01 and took <= math.min(wait * 2.1, 132) + 0.01, i .. ": " .. took)
      before, wait = exchange.now, took
    end
    assert.matches("no DHCPv6 server has offered an address for %d+ s", exchange.notes[1])
    assert.is_true(#exchange.notes <= 3)
  end)

  it("waits as long as a server says (SOL_MAX_RT, section 21.24), within its bounds", function()
    local exchange = soliciting()
    exchange:receive("advertise", { solicit_max = 60, status = 2 }, false)
    for _ = 1, 20 do exchange:wait() end
    local before = exchange.now
    exchange:wait()
    assert.is_true(exchange.now - before <= 66.01)
    exchange:receive("advertise", { solicit_max = 10, status = 2 }, false)
    before = exchange.now
    exchange:wait()
    exchange:wait()
    assert.is_true(exchange.now - before >= 2 * 54)
  end)

  it("repeats REQUEST 10 times, then begins anew and avoids that server (section 18.2.2)", function()
    local exchange = requesting()
    for _ = 2, 10 do
      exchange:wait()
      assert.equal("request", exchange.last.message.type)
    end
    exchange:wait()
    assert.equal("note, send solicit", exchange:summary())
    exchange:receive("advertise", { preference = 255 })
    assert.equal("", exchange:summary())
    exchange:receive("advertise", { server = OTHER_SERVER })
    exchange:wait()
    assert.equal(OTHER_SERVER, exchange.last.message.server)
  end)

  it("begins anew when the server has no address after all, later and later (section 18.2.10.1)", function()
    local exchange, waits = requesting(), {}
    for i = 1, 4 do
      exchange:receive("reply", {}, { status = 2, addresses = false })
      local denied = exchange.now
      if exchange.client:state() == "init" then exchange:wait() end
      waits[i] = math.floor(exchange.now - denied + 0.5)
      exchange:receive("advertise")
      exchange:wait()
      assert.equal("requesting", exchange.client:state())
    end
    assert.same({ 0, 1, 2, 4 }, waits)
  end)

  it("declines an address in use up to four times, and begins anew after 10 s (section 18.2.8)", function()
    local exchange = requesting()
    exchange:receive("reply")
    exchange:call("checked", false)
    assert.equal("send decline, lost declined", exchange:summary())
    assert.same({ SERVER, ADDRESS }, { exchange.last.message.server, asked(exchange) })
    local began, sent = exchange.now, 1
    while exchange.client:state() == "declined" do
      exchange:wait()
      if exchange:summary() == "send decline" then sent = sent + 1 end
    end
    assert.same({ 4, 10, "send solicit" }, { sent, math.floor(exchange.now - began), exchange:summary() })
    assert.is_nil(asked(exchange))
    exchange = requesting()
    exchange:receive("reply")
    exchange:call("checked", false)
    began = exchange.now
    exchange:receive("reply", { status = 0 }, false)
    exchange:wait()
    assert.same({ 10, "send solicit" }, { math.floor(exchange.now - began), exchange:summary() })
  end)

  it("sends its FQDN in DNS wire form (RFC 4704), but not when it gives an address back", function()
    local exchange = requesting({ fqdn = "web.example.org" })
    assert.equal("\3web\7example\3org\0", exchange.last.message.fqdn)
    exchange:receive("reply")
    exchange:call("checked", false)
    assert.same({ "decline" }, { exchange.last.message.type, exchange.last.message.fqdn })
  end)

  it("takes the address that it asked for when a REPLY has several", function()
    local exchange = requesting()
    exchange:receive("reply", {}, { addresses = { { address = "fd77::60", preferred = 1, valid = 2 },
      { address = ADDRESS, preferred = 1800, valid = 3600 } } })
    assert.same({ { type = "check", address = ADDRESS } }, exchange.actions)
  end)

  it("does not bind a lease that ran out while its address was checked", function()
    local exchange = requesting()
    exchange:receive("reply", {}, { t1 = 1, t2 = 2, addresses = { { address = ADDRESS, preferred = 2, valid = 3 } } })
    exchange.now = exchange.now + 4
    exchange:call("checked", true)
    assert.equal("lost expired, send solicit", exchange:summary())
  end)
end)

describe("a lease", function()
  it("is renewed from T1 on with its server, 10 s at first, then longer (section 18.2.4)", function()
    local exchange = renewing()
    assert.same({ SERVER, ADDRESS }, { exchange.last.message.server, asked(exchange) })
    local times = {}
    for i, entry in ipairs(exchange:wait_until(exchange.now + 300)) do times[i] = entry[2] end
    assert.is_true(times[1] >= 9 and times[1] <= 11)
    assert.is_true(times[2] >= 27 and times[2] <= 35)
    assert.is_true(#times >= 4 and #times <= 5)
    exchange:receive("reply")
    local bound = exchange:action("bound")
    assert.same({ false, false, "bound" }, { bound.is_new, bound.is_changed, exchange.client:state() })
  end)

  it("is rebound from T2 on with any server, until it expires (section 18.2.5)", function()
    local exchange = renewing()
    exchange:wait_until(exchange.client:lease().at + 1500)
    assert.equal("rebinding", exchange.client:state())
    assert.is_nil(exchange.last.message.server)
    assert.matches("has not answered for 540 s; asking every server", exchange.notes[1])
    exchange:receive("reply", { server = OTHER_SERVER })
    assert.equal(OTHER_SERVER, exchange.client:lease().server)
    local lease = exchange.client:lease()
    local start = exchange.now
    local list = exchange:wait_until(lease.at + lease.seconds + 0.1)
    assert.equal("lost expired, send solicit", list[#list][3])
    assert.is_true(math.abs(start + list[#list][2] - (lease.at + 3600)) < 0.01)
    assert.equal(ADDRESS, asked(exchange))
  end)

  it("without T1 and T2 has 0.5 and 0.8 of the preferred lifetime (section 21.4)", function()
    local lease = playing.new():bind({ t1 = 0, t2 = 0 }):action("bound").lease
    assert.is_true(lease.t1 >= 864 and lease.t1 <= 936, tostring(lease.t1))
    assert.is_true(lease.t2 >= 1422 and lease.t2 <= 1458, tostring(lease.t2))
  end)

  it("whose T2 comes after its end gets times of ours, and a note", function()
    local exchange = playing.new():bind({ t1 = 5000, t2 = 6000 })
    local lease = exchange:action("bound").lease
    assert.is_true(lease.t1 < lease.t2 and lease.t2 < 3600)
    assert.matches("T1 of 5000 s and T2 of 6000 s make no sense in a lease of 3600 s", exchange.notes[1])
  end)

  it("without end has neither (section 7.7)", function()
    local forever = 0xffffffff
    local exchange = playing.new():bind({ t1 = 0, t2 = 0,
      addresses = { { address = ADDRESS, preferred = forever, valid = forever } } })
    local lease = exchange:action("bound").lease
    assert.same({ math.huge, math.huge, math.huge, math.huge }, { lease.t1, lease.t2, lease.preferred, lease.seconds })
    assert.is_nil(exchange.client:deadline())
  end)

  it("of seconds is renewed in time, and that is said to deviate", function()
    local exchange = playing.new():bind({ t1 = 2, t2 = 4,
      addresses = { { address = ADDRESS, preferred = 5, valid = 6 } } })
    assert.matches("a lease of 6 s is too short for RFC 8415's 10 s", exchange.notes[1])
    local list = exchange:wait_until(exchange.now + 6.5)
    assert.same({ "renewing", "send renew" }, { list[1][1], list[1][3] })
    assert.equal("lost expired, send solicit", list[#list][3])
    assert.is_true(#list >= 5 and #list <= 8, #list .. " messages")
  end)

  it("that the server does not know is asked for anew, and kept meanwhile (section 18.2.10.1, NoBinding)", function()
    local exchange = renewing()
    exchange:receive("reply", {}, { status = 3, addresses = false })
    assert.same({ "requesting", "send request" }, { exchange.client:state(), exchange:summary() })
    assert.equal(ADDRESS, exchange.client:lease().address)
    exchange:receive("reply")
    assert.equal("bound", exchange:summary())
    assert.is_false(exchange:action("bound").is_new)
    exchange:wait()
    exchange:receive("reply", {}, { status = 3, addresses = false })
    exchange:receive("reply", {}, { status = 2, addresses = false })
    assert.equal("lost nak, send solicit", exchange:summary())
  end)

  it("that another server does not know is asked for from that one", function()
    local exchange = renewing()
    exchange:wait_until(exchange.client:lease().at + 1500)
    exchange:receive("reply", { server = OTHER_SERVER }, { status = 3, addresses = false })
    assert.same({ "send request", OTHER_SERVER, ADDRESS },
      { exchange:summary(), exchange.last.message.server, asked(exchange) })
  end)

  it("is lost when the server says that it is valid no more", function()
    local exchange = renewing()
    exchange:receive("reply", {}, { addresses = { { address = ADDRESS, preferred = 0, valid = 0 } } })
    assert.equal("lost nak, send solicit", exchange:summary())
    assert.equal("fd77::50 is not ours: a DHCPv6 server refuses it", exchange:action("lost").message)
  end)

  it("of another address is taken after a check", function()
    local exchange = renewing()
    exchange:receive("reply", {}, { addresses = { { address = ADDRESS, preferred = 0, valid = 0 },
      { address = "fd77::60", preferred = 1800, valid = 3600 } } })
    assert.same({ { type = "check", address = "fd77::60" } }, exchange.actions)
    exchange:call("checked", true)
    assert.same({ true, true }, { exchange:action("bound").is_new, exchange:action("bound").is_changed })
  end)

  it("is declined when somebody else is found to use the address", function()
    local exchange = playing.new():bind()
    exchange:call("checked", false)
    assert.equal("send decline, lost declined", exchange:summary())
  end)
end)

describe("a client that had a lease", function()
  local LEASE = { address = ADDRESS, server = SERVER, at = 900, seconds = 3600, t1 = 1800, t2 = 2880 }

  it("confirms it, and goes on with its times (section 18.2.3)", function()
    local exchange = playing.new({ lease = LEASE })
    exchange:call("start")
    assert.same({ "confirming", "" }, { exchange.client:state(), exchange:summary() })
    exchange:wait()
    assert.equal("send confirm", exchange:summary())
    assert.same({ ADDRESS }, { asked(exchange), exchange.last.message.server })
    exchange:receive("reply", {}, false)
    assert.equal("check", exchange:summary())
    exchange:call("checked", true)
    assert.same({ 900, 3600 }, { exchange:action("bound").lease.at, exchange:action("bound").lease.seconds })
  end)

  it("asks how long it lasts when it does not know", function()
    local exchange = playing.new({ lease = { address = ADDRESS } })
    exchange:call("start")
    exchange:wait()
    exchange:receive("reply", {}, false)
    assert.equal("send rebind", exchange:summary())
    exchange:receive("reply")
    assert.equal("check", exchange:summary())
    exchange:call("checked", true)
    assert.equal(3600, exchange.client:lease().seconds)
  end)

  it("begins anew when nobody says for 60 s how long it lasts", function()
    local exchange = playing.new({ lease = { address = ADDRESS } })
    exchange:call("start")
    exchange:wait()
    exchange:receive("reply", {}, false)
    local began = exchange.now
    while exchange.client:state() == "rebinding" do exchange:wait() end
    assert.equal("send solicit", exchange:summary())
    assert.is_true(exchange.now - began >= 60 and exchange.now - began <= 160, tostring(exchange.now - began))
  end)

  it("begins anew on another link (NotOnLink)", function()
    local exchange = playing.new({ lease = LEASE })
    exchange:call("start")
    exchange:wait()
    exchange:receive("reply", { status = 4 }, false)
    assert.equal("lost nak, send solicit", exchange:summary())
  end)

  it("uses it on when nobody answers for 10 s; without times it begins anew", function()
    local exchange = playing.new({ lease = LEASE })
    exchange:call("start")
    exchange:wait_until(1020)
    assert.equal("checking", exchange.client:state())
    exchange = playing.new({ lease = { address = ADDRESS } })
    exchange:call("start")
    exchange:wait_until(1020)
    assert.same({ "selecting", ADDRESS }, { exchange.client:state(), asked(exchange) })
  end)

  it("loses it on time when it expires before anybody confirms it", function()
    local exchange = playing.new({ lease = { address = ADDRESS, server = SERVER, at = 990, seconds = 13 } })
    exchange:call("start")
    local list = exchange:wait_until(1003.1)
    assert.equal("lost expired, send solicit", list[#list][3])
    assert.is_true(math.abs(list[#list][2] - 3) < 0.01, tostring(list[#list][2]))
  end)

  it("confirms after a link flap, and says nothing when all is well", function()
    local exchange = playing.new():bind()
    exchange:call("link_up")
    exchange:wait()
    assert.equal("send confirm", exchange:summary())
    assert.equal(ADDRESS, exchange.client:lease().address)
    exchange:receive("reply", {}, false)
    assert.same({ "", "bound" }, { exchange:summary(), exchange.client:state() })
    exchange:wait()
    assert.equal("renewing", exchange.client:state())
  end)
end)

describe("client:release", function()
  it("is repeated until the server knows, four times at most (section 18.2.7)", function()
    local exchange = playing.new():bind()
    exchange:call("release")
    assert.same({ "releasing", "send release" }, { exchange.client:state(), exchange:summary() })
    assert.is_nil(exchange.client:lease())
    assert.same({ SERVER, ADDRESS }, { exchange.last.message.server, asked(exchange) })
    exchange:receive("reply", {}, false)
    assert.equal("ended", exchange.client:state())
    exchange = playing.new():bind()
    exchange:call("release")
    for _ = 2, 4 do
      exchange:wait()
      assert.equal("send release", exchange:summary())
    end
    exchange:wait()
    assert.same({ "ended", "" }, { exchange.client:state(), exchange:summary() })
  end)

  it("sends it for what a server may just have given, and nothing when there is nothing", function()
    local exchange = requesting()
    exchange:call("release")
    assert.equal("send release", exchange:summary())
    exchange = soliciting()
    exchange:call("release")
    assert.same({ "ended", "" }, { exchange.client:state(), exchange:summary() })
    exchange:call("start")
    assert.equal("ended", exchange.client:state())
  end)
end)

describe("what is not believed:", function()
  local function ignored(exchange, counted, ...)
    local state, before = exchange.client:state(), exchange.client:stats()[counted]
    exchange:receive(...)
    for _, action in ipairs(exchange.actions) do assert.equal("note", action.type) end
    assert.equal(state, exchange.client:state())
    assert.equal(before + 1, exchange.client:stats()[counted])
  end

  it("another transaction, client or station; no server (section 16)", function()
    ignored(soliciting(), "foreign", "advertise", { xid = 1 })
    ignored(soliciting(), "foreign", "advertise", { client = "\0\4other" })
    ignored(soliciting(), "foreign", "advertise", { client = false })
    ignored(soliciting(), "foreign", "advertise", { server = false })
    ignored(soliciting(), "foreign", "advertise", {}, {}, { destination_mac = "02:00:5e:00:53:02" })
    ignored(soliciting(), "foreign", "advertise", {}, {}, { destination_port = 547 })
  end)

  it("what is not due, or of another server than the chosen one", function()
    ignored(soliciting(), "foreign", "reply")
    ignored(requesting(), "foreign", "advertise")
    ignored(requesting(), "foreign", "reply", { server = OTHER_SERVER })
    ignored(playing.new():bind(), "foreign", "reply")
    local exchange = playing.new({ lease = { address = ADDRESS } })
    exchange:call("start")
    exchange.last = { message = { xid = 0x0a2dec } }	-- the one that it will use: spec/vectors/dhcp6.txt
    ignored(exchange, "foreign", "reply", {}, false)
  end)

  it("an IA that is not ours, none, one without a host's address (section 18.2.9)", function()
    ignored(soliciting(), "refused", "advertise", {}, { iaid = 8 })
    ignored(soliciting(), "refused", "advertise", {}, false)
    ignored(soliciting(), "refused", "advertise", {}, { t1 = 10, t2 = 5 })
    for _, address in ipairs({ "ff02::1", "fe80::1", "::1", "::" }) do
      ignored(soliciting(), "refused", "advertise", {},
        { addresses = { { address = address, preferred = 1, valid = 2 } } })
    end
    ignored(soliciting(), "refused", "advertise", {},
      { addresses = { { address = ADDRESS, preferred = 3, valid = 2 } } })
    ignored(soliciting(), "refused", "advertise", {},
      { addresses = { { address = ADDRESS, preferred = 0, valid = 0 } } })
    ignored(renewing(), "refused", "reply", {}, false)
  end)

  it("a status of failure, which is said once a minute", function()
    local exchange = soliciting()
    ignored(exchange, "refused", "advertise", {}, { status = 2, addresses = false })
    ignored(exchange, "refused", "advertise", { status = 1 })
    assert.same({ "a DHCPv6 server's advertise is of no use: NoAddrsAvail" }, exchange.notes)
    ignored(requesting(), "refused", "reply", { status = 1 })
    ignored(requesting(), "refused", "reply", { status = 77 })
  end)

  it("a frame that is cut off or changed", function()
    local exchange = soliciting()
    local good = exchange:answer("advertise", { preference = 255 })
    local function bad(frame)
      local before = exchange.client:stats().bad
      exchange:call("receive", frame)
      assert.same({ 0, before + 1 }, { #exchange.actions, exchange.client:stats().bad })
    end
    for length = 0, #good - 1, 5 do bad(good:sub(1, length)) end
    bad(good:sub(1, 70) .. "x" .. good:sub(72))
    bad(good:sub(1, 60) .. "\0\0" .. good:sub(63))	-- no checksum is none in IPv6 (RFC 8200 section 8.1)
    bad(good:sub(1, 20) .. "\44" .. good:sub(22))	-- a fragment header
    exchange:call("receive", good)
    assert.equal("send request", exchange:summary())
  end)
end)

describe("dhcp6.client", function()
  it("raises for what is no client, and names the field", function()
    local function raises(pattern, changes)
      local options = { mac = playing.MAC, duid = DUID, seed = 1 }
      for name, value in pairs(changes) do options[name] = value end
      assert.error_matches(function() core.client(options) end, pattern)
    end
    raises("mac: address of a station", { mac = "33:33:00:00:00:01" })
    raises("duid: 3 to 130 octets", { duid = "ab" })
    raises("duid: 130 octets at most", { duid = ("x"):rep(131) })
    raises("seed: integer", { seed = "x" })
    raises("iaid: integer", { iaid = -1 })
    raises("requested: IPv6 address expected, got 10.0.0.1", { requested = "10.0.0.1" })
    raises("fqdn: host name", { fqdn = "a b" })
    raises("lease.address: IPv6", { lease = {} })
    raises("lease: t1, t2 and seconds", { lease = { address = ADDRESS, at = 1, seconds = 10, t1 = 9, t2 = 8 } })
  end)

  it("has the DUID and IAID of DHCPv4's client-id (RFC 4361 section 4.2), and a MAC's link-local address", function()
    local id = require("moonlb.core.dhcp").client_id("cluster", "default", "web")
    assert.equal(id:sub(6), core.duid("cluster", "default", "web"))
    assert.equal(string.unpack(">I4", id, 2), core.iaid("cluster", "default", "web"))
    assert.equal("fe80::5eff:fe00:5301", core.link_local(playing.MAC))
  end)
end)
