--- The DHCPv4 client from DISCOVER to a lease and to its end: RFC 2131, the server and the clock played by hand.
local core = require("moonlb.core.dhcp")
local playing = require("spec.support.dhcp")

local ADDRESS, SERVER, MAC = playing.ADDRESS, playing.SERVER, playing.MAC

-- What a tick sent, or the summary.
local function kind(exchange) return exchange:summary() end

describe("a client without a lease", function()
  it("asks, takes an offer, probes the address and is bound (section 3.1)", function()
    local exchange = playing.new()
    assert.equal("init", exchange.client:state())
    assert.is_nil(exchange.client:deadline())
    exchange:call("start")
    assert.equal("send discover", kind(exchange))
    assert.equal("selecting", exchange.client:state())
    exchange:receive("offer")
    assert.equal("send request", kind(exchange))
    assert.equal("requesting", exchange.client:state())
    exchange.now = exchange.now + 0.5
    exchange:receive("ack")
    assert.same({ { type = "check", address = ADDRESS } }, exchange.actions)
    assert.equal("checking", exchange.client:state())
    assert.is_nil(exchange.client:deadline())
    exchange.now = exchange.now + 2
    exchange:call("checked", true)
    local bound = exchange:action("bound")
    assert.same({ true, false }, { bound.is_new, bound.is_changed })
    assert.same({ ADDRESS, SERVER, playing.SERVER_MAC, 24, "10.77.0.254", 3600 }, { bound.lease.address,
      bound.lease.server, bound.lease.server_mac, bound.lease.prefix, bound.lease.router, bound.lease.seconds })
    assert.equal("bound", exchange.client:state())
    assert.same(bound.lease, exchange.client:lease())
  end)

  it("counts the lease from when the REQUEST was sent (section 4.4.1)", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange.now = exchange.now + 1
    exchange:receive("offer")
    exchange:wait()	-- the first one was lost
    local sent_at = exchange.now
    exchange.now = exchange.now + 3
    exchange:receive("ack")
    exchange:call("checked", true)
    assert.is_true(math.abs(sent_at - exchange:action("bound").lease.at) < 0.001)
  end)

  it("repeats DISCOVER after 4, 8, 16, 32, 64, 64... seconds, each 1 s more or less, for ever (section 4.1)", function()
    local exchange = playing.new()
    exchange:call("start")
    local before, waits = exchange.now, {}
    for i = 1, 60 do	-- an hour
      exchange:wait()
      waits[i], before = exchange.now - before, exchange.now
      assert.equal("discover", exchange.last.message.type)
    end
    for i, wait in ipairs(waits) do
      local middle = math.min(4 * 2 ^ (i - 1), 64)
      assert.is_true(math.abs(wait - middle) <= 1.001, ("wait %d: %g s"):format(i, wait))
    end
    local is_same = true
    for i = 6, 60 do is_same = is_same and waits[i] == waits[5] end
    assert.is_false(is_same)
    exchange:receive("offer")
    assert.equal("requesting", exchange.client:state())
  end)

  it("says since when nobody answers, ever more seldom", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange:wait_until(1000 + 3600)
    assert.equal(4, #exchange.notes)	-- after 4, 8, 16 and 32 of them
    assert.matches("no DHCP server has offered an address for %d+ s", exchange.notes[1])
  end)

  it("says in secs how long it asks, the same in DISCOVER and REQUEST (section 4.4.1)", function()
    local exchange = playing.new()
    exchange:call("start")
    assert.equal(0, exchange.last.message.secs)
    exchange:wait()
    exchange:wait()
    local secs, xid = exchange.last.message.secs, exchange.last.message.xid
    assert.is_true(secs >= 10 and secs <= 14)
    exchange:receive("offer")
    assert.same({ secs, xid }, { exchange.last.message.secs, exchange.last.message.xid })
  end)

  it("repeats REQUEST four times, then begins anew and says who failed (section 3.1 (5))", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange:receive("offer")
    local first, began = exchange.last.message.xid, exchange.now
    for _ = 1, 3 do
      exchange:wait()
      assert.same({ "request", first }, { exchange.last.message.type, exchange.last.message.xid })
    end
    exchange:wait()
    assert.equal("note, send discover", kind(exchange))
    assert.is_true(math.abs(exchange.now - began - 60) <= 4)
    assert.not_equal(first, exchange.last.message.xid)
    assert.matches("server 10.77.0.1 offered 10.77.0.50, but did not answer 4 REQUESTs", exchange.notes[1])
  end)

  it("takes the first offer when it wishes for nothing", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange:receive("offer", { server = "10.77.0.2", yiaddr = "10.77.0.9" })
    assert.same({ "10.77.0.2", "10.77.0.9" }, { exchange.last.message.server, exchange.last.message.requested })
    exchange:receive("offer")
    assert.equal("", kind(exchange))
    assert.equal(1, exchange.client:stats().foreign)
  end)

  it("waits a second for the offer of the address that it wishes for, and takes it at once", function()
    local exchange = playing.new({ requested = "10.77.0.9" })
    exchange:call("start")
    assert.equal("10.77.0.9", exchange.last.message.requested)
    exchange:receive("offer")
    assert.equal("selecting", exchange.client:state())
    assert.equal(1001, math.floor(exchange.client:deadline()))
    exchange:receive("offer", { server = "10.77.0.2", yiaddr = "10.77.0.9" })
    assert.equal("10.77.0.9", exchange.last.message.requested)
    assert.equal("requesting", exchange.client:state())
  end)

  it("takes the best of what was offered when the wish does not come", function()
    local exchange = playing.new({ requested = "10.77.0.9" })
    exchange:call("start")
    exchange:receive("offer")
    exchange:receive("offer", { server = "10.77.0.2", yiaddr = "10.77.0.60" })
    exchange:wait()
    assert.same({ ADDRESS, SERVER }, { exchange.last.message.requested, exchange.last.message.server })
  end)

  it("prefers another server to one that offered and then did not answer", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange:receive("offer")
    for _ = 1, 4 do exchange:wait() end
    exchange:receive("offer")
    assert.equal("selecting", exchange.client:state())
    exchange:receive("offer", { server = "10.77.0.2", yiaddr = "10.77.0.60" })
    assert.equal("10.77.0.2", exchange.last.message.server)
    assert.equal("requesting", exchange.client:state())
  end)

  it("begins anew at once after a NAK, later and later after more of them (section 3.1 (4))", function()
    local exchange = playing.new()
    exchange:call("start")
    local waits = {}
    for i = 1, 9 do
      exchange:receive("offer")
      if exchange.client:state() == "selecting" then exchange:wait() end	-- it is avoided, but alone
      local refused_at = exchange.now
      exchange:receive("nak")
      if exchange.client:state() == "init" then exchange:wait() end
      waits[i] = math.floor(exchange.now - refused_at + 0.5)
      assert.equal("selecting", exchange.client:state())
    end
    assert.same({ 0, 1, 2, 4, 8, 16, 32, 64, 64 }, waits)
  end)

  it("declines an address in use, waits 10 s and begins anew without asking for it (section 3.1 (5))", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange:receive("offer")
    exchange:receive("ack")
    exchange:call("checked", false)
    assert.equal("send decline, lost declined", kind(exchange))
    assert.equal("declined", exchange.client:state())
    assert.same({ ADDRESS, SERVER, nil }, { exchange.last.message.requested, exchange.last.message.server,
      exchange.last.message.ciaddr })
    assert.equal("10.77.0.50 of server 10.77.0.1 is in use by somebody else: declined", exchange:action("lost").message)
    local declined_at = exchange.now
    exchange:wait()
    assert.equal(10, math.floor(exchange.now - declined_at))
    assert.equal("send discover", kind(exchange))
    assert.is_nil(exchange.last.message.requested)
  end)

  it("does not bind a lease that ran out while its address was probed", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange:receive("offer")
    exchange:receive("ack", { seconds = 2 })
    exchange.now = exchange.now + 3
    exchange:call("checked", true)
    assert.equal("lost expired, send discover", kind(exchange))
  end)
end)

describe("a client that had a lease", function()
  it("asks for it again: address, no server, no ciaddr (section 4.3.2, INIT-REBOOT)", function()
    local exchange = playing.new({ lease = { address = ADDRESS } })
    exchange:call("start")
    assert.equal("rebooting", exchange.client:state())
    assert.is_nil(exchange.client:lease())
    exchange:receive("ack", { server = "10.77.0.2" })
    assert.equal("check", kind(exchange))
    exchange:call("checked", true)
    assert.equal("10.77.0.2", exchange:action("bound").lease.server)
  end)

  it("is told that it is not ours by a NAK, and begins anew at once (section 4.4.2)", function()
    local exchange = playing.new({ lease = { address = ADDRESS } })
    exchange:call("start")
    exchange:receive("nak")
    assert.equal("lost nak, send discover", kind(exchange))
    assert.equal("10.77.0.50 is not ours: server 10.77.0.1 refuses it (NAK)", exchange:action("lost").message)
    assert.is_nil(exchange.last.message.requested)
  end)

  it("begins anew after 60 s of silence when it does not know how long the lease is, with the same wish", function()
    local exchange = playing.new({ lease = { address = ADDRESS, server = SERVER } })
    exchange:call("start")
    exchange:wait_until(1000 + 66)
    assert.equal("selecting", exchange.client:state())
    assert.equal(ADDRESS, exchange.last.message.requested)
  end)

  it("uses it on when nobody answers, probed first (section 3.2 (4))", function()
    local exchange = playing.new({ lease = { address = ADDRESS, server = SERVER, at = 900, seconds = 3600 } })
    exchange:call("start")
    assert.equal(ADDRESS, exchange.client:lease().address)
    local last = exchange:wait_until(1000 + 66)
    assert.same({ "check", ADDRESS }, { last[#last].type, last[#last].address })
    exchange:call("checked", true)
    assert.equal("bound", exchange.client:state())
    assert.same({ 900, 3600, 1800, 3150 }, { exchange:action("bound").lease.at, exchange:action("bound").lease.seconds,
      exchange:action("bound").lease.t1, exchange:action("bound").lease.t2 })
    exchange:wait()
    assert.equal(900 + 1800, math.floor(exchange.now))
    assert.equal("renewing", exchange.client:state())
    assert.equal("ff:ff:ff:ff:ff:ff", exchange.last.destination_mac)	-- its server's station is not known
  end)

  it("loses it when it expires while nobody answers", function()
    local exchange = playing.new({ lease = { address = ADDRESS, server = SERVER, at = 990, seconds = 20 } })
    exchange:call("start")
    local all = exchange:wait_until(1011)
    local lost
    for _, action in ipairs(all) do lost = lost or action.type == "lost" and action end
    assert.equal("expired", lost.reason)
    assert.is_true(math.abs(lost.at - 1010) < 0.01, tostring(lost.at))
    assert.equal("selecting", exchange.client:state())
  end)

  it("does not ask for one that has expired already, but wishes for its address", function()
    local exchange = playing.new({ lease = { address = ADDRESS, server = SERVER, at = 10, seconds = 20 } })
    exchange:call("start")
    assert.equal("send discover", kind(exchange))
    assert.equal(ADDRESS, exchange.last.message.requested)
  end)

  it("asks again after a link flap, and keeps what it has meanwhile", function()
    local exchange = playing.new():bind()
    exchange.now = exchange.now + 60
    exchange:call("link_up")
    assert.equal("send request", kind(exchange))
    assert.equal("rebooting", exchange.client:state())
    assert.equal(ADDRESS, exchange.client:lease().address)
    exchange:wait_until(exchange.now + 70)
    assert.equal("bound", exchange.client:state())
    exchange:call("link_up")
    exchange:receive("ack")
    assert.equal("check", kind(exchange))
    exchange:call("checked", true)
    assert.same({ false, false }, { exchange:action("bound").is_new, exchange:action("bound").is_changed })
  end)

  it("asks at once when the link comes back before it has one", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange:wait_until(1000 + 100)
    exchange:call("link_up")
    assert.equal("send discover", kind(exchange))
    assert.is_true(exchange.client:deadline() <= exchange.now + 5.01)
  end)
end)

describe("client:release", function()
  local function released(exchange)
    exchange:call("release", "gone")
    assert.equal("ended", exchange.client:state())
    assert.is_nil(exchange.client:deadline())
    return exchange:summary()
  end

  it("sends RELEASE from the address to its server's station (section 4.4.6)", function()
    local exchange = playing.new():bind()
    assert.equal("send release", released(exchange))
    local last = exchange.last
    assert.same({ ADDRESS, SERVER, playing.SERVER_MAC, ADDRESS, SERVER, "gone" }, { last.source, last.destination,
      last.destination_mac, last.message.ciaddr, last.message.server, last.message.message })
    assert.is_nil(exchange.client:lease())
  end)

  it("sends it for what a server may just have granted, too", function()
    local exchange = playing.new()
    exchange:call("start")
    exchange:receive("offer")
    assert.equal("send release", released(exchange))
    exchange = playing.new()
    exchange:call("start")
    exchange:receive("offer")
    exchange:receive("ack")
    assert.equal("send release", released(exchange))
  end)

  it("sends none when there is nothing to give back", function()
    local exchange = playing.new()
    assert.equal("", released(exchange))
    exchange = playing.new()
    exchange:call("start")
    assert.equal("", released(exchange))
  end)

  it("is the end: nothing is done or answered after it", function()
    local exchange = playing.new():bind()
    released(exchange)
    for _, method in ipairs({ "start", "tick", "link_up" }) do
      exchange:call(method)
      assert.same({}, exchange.actions)
    end
    exchange:receive("ack")
    assert.same({}, exchange.actions)
    exchange:call("checked", false)
    assert.same({}, exchange.actions)
  end)
end)

describe("dhcp.client", function()
  it("raises for what is no client, and names the field", function()
    local function raises(pattern, changes)
      local options = { mac = MAC, client_id = "id", seed = 1 }
      for name, value in pairs(changes) do options[name] = value end
      assert.error_matches(function() core.client(options) end, pattern)
    end
    assert.is_userdata(core.client({ mac = MAC, client_id = "id", seed = 1 }))
    raises("mac: address of a station", { mac = "01:00:00:00:00:01" })
    raises("mac: MAC aa:bb", { mac = "x" })
    raises("client_id: 2 to 255", { client_id = "x" })
    raises("client_id: 255 octets at most", { client_id = ("x"):rep(256) })
    raises("seed: integer", { seed = 1.5 })
    raises("host_name: printable", { host_name = "a b" })
    raises("host_name: 253", { host_name = ("a"):rep(254) })
    raises("fqdn: host name", { fqdn = "a b" })
    raises("requested: IPv4", { requested = "fd77::1" })
    raises("max_message: integer from 576", { max_message = 300 })
    raises("lease.address: IPv4", { lease = {} })
    raises("lease: t1, t2 and seconds", { lease = { address = ADDRESS, at = 1, seconds = 10, t1 = 9, t2 = 8 } })
    raises("seconds: seconds expected", { lease = { address = ADDRESS, at = 1, seconds = 0 / 0 } })
    raises("at: seconds expected", { lease = { address = ADDRESS, at = 1e300, seconds = 1 } })
  end)

  it("draws transaction ids and jitter from the seed alone", function()
    local function first(seed)
      local exchange = playing.new({ seed = seed })
      exchange:call("start")
      return exchange.last.message.xid, exchange.client:deadline()
    end
    assert.same({ first(7) }, { first(7) })
    assert.not_equal(first(7), first(8))
  end)

  it("fits the largest options into one message", function()
    local exchange = playing.new({ client_id = ("c"):rep(255), host_name = ("h"):rep(253), requested = ADDRESS })
    exchange:call("start")
    assert.equal(("c"):rep(255), exchange.last.message.client_id)
    local label = ("f"):rep(61)
    exchange = playing.new({ client_id = ("c"):rep(255), fqdn = label .. "." .. label .. "." .. label .. "." .. label })
    exchange:call("start")
    assert.equal(label .. "." .. label .. "." .. label .. "." .. label, exchange.last.message.fqdn)
  end)
end)
