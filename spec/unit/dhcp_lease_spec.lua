--- A DHCPv4 lease's life: renewing, rebinding, expiry, NAK, change, very short, without end. RFC 2131 section 4.4.5.
local playing = require("spec.support.dhcp")

local ADDRESS, SERVER, SERVER_MAC = playing.ADDRESS, playing.SERVER, playing.SERVER_MAC
local BROADCAST = "ff:ff:ff:ff:ff:ff"

-- When (seconds after the lease's start) what kind of REQUEST is sent until `till`, with nobody answering.
local function schedule(exchange, till)
  local at, list = exchange.client:lease().at, {}
  while exchange.client:deadline() and exchange.client:deadline() <= at + till do
    exchange:wait()
    list[#list + 1] = { exchange.client:state(), math.floor((exchange.now - at) * 10 + 0.5) / 10, exchange:summary() }
  end
  return list
end

describe("T1 and T2", function()
  local function times(changes)
    local exchange = playing.new():bind(changes)
    local lease = exchange:action("bound").lease
    return lease.t1, lease.t2, exchange
  end

  it("are the server's (options 58, 59)", function()
    local t1, t2 = times({ t1 = 900, t2 = 1800 })
    assert.same({ 900, 1800 }, { t1, t2 })
  end)

  it("are else 0.5 and 0.875 of the lease, with some fuzz", function()
    local seen = {}
    for seed = 1, 20 do
      local exchange = playing.new({ seed = seed }):bind({ seconds = 1000 })
      local lease = exchange:action("bound").lease
      assert.is_true(lease.t1 >= 480 and lease.t1 <= 520, tostring(lease.t1))
      assert.is_true(lease.t2 >= 865 and lease.t2 <= 885, tostring(lease.t2))
      seen[lease.t1] = true
    end
    assert.is_truthy(next(seen, next(seen)))
  end)

  it("are computed and a note is made when the server's make no sense", function()
    for _, wrong in ipairs({ { t1 = 0, t2 = 1800 }, { t1 = 1800, t2 = 900 }, { t1 = 900, t2 = 3600 },
      { t1 = 4000, t2 = 5000 },
      { t1 = 4000 }, { t2 = 5000 }, { t1 = 0xffffffff, t2 = 0xffffffff } }) do
      local t1, t2, exchange = times(wrong)
      assert.is_true(t1 >= 1728 and t1 <= 1872 and t2 >= 3114 and t2 <= 3186, t1 .. " " .. t2)
      assert.matches("make no sense in a lease of 3600 s", exchange.notes[1])
    end
  end)

  it("may be one of them alone", function()
    local t1, t2, exchange = times({ t1 = 60 })
    assert.is_true(t1 == 60 and t2 > 3000)
    t1, t2 = times({ t2 = 3000 })
    assert.is_true(t1 < 1900 and t2 == 3000)
    assert.same({}, exchange.notes)
  end)
end)

describe("renewing", function()
  it("asks the server by unicast from the address, half the time to T2 apart, 60 s at least", function()
    local exchange = playing.new():bind({ t1 = 1000, t2 = 2000 })
    local list = schedule(exchange, 1999)
    assert.same({ { "renewing", 1000, "send request" }, { "renewing", 1500, "send request" },
      { "renewing", 1750, "send request" }, { "renewing", 1875, "send request" },
      { "renewing", 1937.5, "send request" },
      { "renewing", 1997.5, "send request" } }, list)
    local last = exchange.last
    assert.same({ ADDRESS, SERVER, SERVER_MAC, ADDRESS, nil, nil }, { last.source, last.destination,
      last.destination_mac, last.message.ciaddr, last.message.requested, last.message.server })
  end)

  it("binds again without a probe, from that REQUEST on, and says that nothing is new", function()
    local exchange = playing.new():bind({ t1 = 1000, t2 = 2000 })
    for _ = 1, 3 do
      exchange:wait()
      local sent_at = exchange.now
      exchange.now = exchange.now + 0.25
      exchange:receive("ack", { t1 = 1000, t2 = 2000 }, { destination = ADDRESS })
      assert.equal("bound", exchange:summary())
      local bound = exchange:action("bound")
      assert.same({ false, false, "bound" }, { bound.is_new, bound.is_changed, exchange.client:state() })
      assert.is_true(math.abs(bound.lease.at - sent_at) < 0.001)
    end
  end)

  it("goes to the station that answered last: a router may have been replaced", function()
    local exchange = playing.new():bind({ t1 = 1000, t2 = 2000 })
    exchange:wait()
    exchange:receive("ack", { t1 = 1000, t2 = 2000 }, { source_mac = "02:00:5e:00:53:77" })
    exchange:wait()
    assert.equal("02:00:5e:00:53:77", exchange.last.destination_mac)
  end)

  it("takes a changed prefix or router for a change", function()
    local exchange = playing.new():bind()
    exchange:wait()
    exchange:receive("ack", { router = "10.77.0.253" })
    assert.same({ false, true }, { exchange:action("bound").is_new, exchange:action("bound").is_changed })
  end)

  it("takes another address only after a probe, and holds the old one till then", function()
    local exchange = playing.new():bind()
    exchange:wait()
    exchange:receive("ack", { yiaddr = "10.77.0.60" })
    assert.same({ { type = "check", address = "10.77.0.60" } }, exchange.actions)
    assert.equal(ADDRESS, exchange.client:lease().address)
    exchange:call("checked", true)
    assert.same({ true, true }, { exchange:action("bound").is_new, exchange:action("bound").is_changed })
    assert.equal("10.77.0.60", exchange.client:lease().address)
  end)

  it("loses the address by a NAK, and begins anew (section 4.4.5)", function()
    local exchange = playing.new():bind()
    exchange:wait()
    exchange:receive("nak")
    assert.equal("lost nak, send discover", exchange:summary())
    assert.is_nil(exchange.client:lease())
    exchange:receive("offer", { yiaddr = "10.77.0.60" })
    exchange:receive("ack", { yiaddr = "10.77.0.60" })
    exchange:call("checked", true)
    assert.same({ true, true }, { exchange:action("bound").is_new, exchange:action("bound").is_changed })
  end)

  it("declines when somebody else is found to use the address", function()
    local exchange = playing.new():bind()
    exchange:call("checked", false)
    assert.equal("send decline, lost declined", exchange:summary())
    exchange = playing.new():bind()
    exchange:call("checked", true)
    assert.same({}, exchange.actions)
  end)
end)

describe("rebinding", function()
  it("asks every server from T2 on, half the remaining time apart, 60 s at least; says who was silent", function()
    local exchange = playing.new():bind({ t1 = 1000, t2 = 2000 })
    schedule(exchange, 1999)
    local list = schedule(exchange, 3599)
    assert.same({ "rebinding", 2000, "note, send request" }, list[1])
    assert.same({ "rebinding", 2800, "send request" }, list[2])
    assert.same({ "rebinding", 3560, "send request" }, list[#list])
    assert.matches("server 10.77.0.1 has not answered for 1000 s; asking every server", exchange.notes[1])
    local last = exchange.last
    assert.same({ ADDRESS, "255.255.255.255", BROADCAST, ADDRESS }, { last.source, last.destination,
      last.destination_mac, last.message.ciaddr })
  end)

  it("takes the lease from another server", function()
    local exchange = playing.new():bind({ t1 = 1000, t2 = 2000 })
    schedule(exchange, 2000)
    exchange:receive("ack", { server = "10.77.0.2" })
    assert.equal("bound", exchange:summary())
    assert.equal("10.77.0.2", exchange.client:lease().server)
  end)

  it("ends with the lease: the address is lost, then asked for anew", function()
    local exchange = playing.new():bind({ t1 = 1000, t2 = 2000 })
    local list = schedule(exchange, 3600.1)
    assert.same({ "selecting", 3600, "lost expired, send discover" }, list[#list])
    assert.equal(ADDRESS, exchange.last.message.requested)
    assert.equal("the lease of 10.77.0.50 has expired: neither server 10.77.0.1 nor another renewed it",
      exchange:action("lost").message)
    exchange:receive("offer")	-- the server is back
    exchange:receive("ack")
    exchange:call("checked", true)
    assert.same({ true, false }, { exchange:action("bound").is_new, exchange:action("bound").is_changed })
  end)
end)

describe("a clock that jumped", function()
  local function after(seconds)
    local exchange = playing.new():bind({ t1 = 1000, t2 = 2000 })
    exchange.now = exchange.now + seconds
    exchange:call("tick")
    return exchange:summary(), exchange.client:state()
  end

  it("does what is due now, not what was due in between", function()
    assert.same({ "send request", "renewing" }, { after(1900) })
    assert.same({ "send request", "rebinding" }, { after(2500) })
    assert.same({ "lost expired, send discover", "selecting" }, { after(5000) })
  end)

  it("does nothing when tick comes early", function()
    assert.same({ "", "bound" }, { after(999) })
    assert.same({ "", "bound" }, { after(-500) })
  end)
end)

describe("a lease too short for 60 s between requests", function()
  it("is renewed by halves of the remaining time, 1 s at least, and that is said to deviate", function()
    local exchange = playing.new():bind({ seconds = 5, t1 = 2, t2 = 4 })
    assert.matches("a lease of 5 s is too short for RFC 2131's 60 s between requests", exchange.notes[1])
    assert.same({ { "renewing", 2, "send request" }, { "renewing", 3, "send request" },
      { "rebinding", 4, "note, send request" }, { "selecting", 5, "lost expired, send discover" } },
        schedule(exchange, 5.1))
  end)

  it("of 100 s has time for more than one try in each phase", function()
    local list = schedule(playing.new():bind({ seconds = 100, t1 = 50, t2 = 88 }), 99.9)
    local times = {}
    for i, entry in ipairs(list) do times[i] = entry[2] end
    assert.same({ 50, 69, 78.5, 83.3, 85.6, 86.8, 87.8, 88, 94, 97, 98.5, 99.5 }, times)
  end)

  it("says so once, not at each renewal", function()
    local exchange = playing.new():bind({ seconds = 5, t1 = 2, t2 = 4 })
    exchange:wait()
    exchange:receive("ack", { seconds = 5, t1 = 2, t2 = 4 })
    assert.equal("bound", exchange:summary())
  end)

  it("may be one of a second", function()
    local exchange = playing.new():bind({ seconds = 1 })
    local list = schedule(exchange, 1.1)
    assert.equal("lost expired, send discover", list[#list][3])
    assert.is_true(#list <= 4)
  end)
end)

describe("a lease without end (section 3.3)", function()
  it("has no T1 and no expiry, whatever the server says of them", function()
    local exchange = playing.new():bind({ seconds = 0xffffffff, t1 = 10, t2 = 20 })
    local lease = exchange:action("bound").lease
    assert.same({ math.huge, math.huge, math.huge }, { lease.seconds, lease.t1, lease.t2 })
    assert.is_nil(exchange.client:deadline())
    exchange.now = exchange.now + 1e9
    exchange:call("tick")
    assert.same({}, exchange.actions)
    exchange:call("release")
    assert.equal("send release", exchange:summary())
  end)

  it("can be asked for again", function()
    local exchange = playing.new({ lease = { address = ADDRESS, server = SERVER, at = 10, seconds = math.huge } })
    exchange:call("start")
    assert.equal("rebooting", exchange.client:state())
    exchange:wait_until(1000 + 70)
    exchange:call("checked", true)
    assert.equal("bound", exchange.client:state())
    assert.is_nil(exchange.client:deadline())
  end)
end)
