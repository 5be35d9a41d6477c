--- What a DHCPv4 client does not believe: everybody on the LAN can answer it.
local core = require("moonlb.core.dhcp")
local playing = require("spec.support.dhcp")

local function selecting()
  local exchange = playing.new()
  exchange:call("start")
  return exchange
end

local function requesting()
  local exchange = selecting()
  exchange:receive("offer")
  return exchange
end

local function renewing()
  local exchange = playing.new():bind()
  exchange:wait()
  return exchange
end

-- The answer is ignored and counted as `counted`; the state stays.
local function ignored(exchange, counted, kind, changes, frame_changes)
  local state, before = exchange.client:state(), exchange.client:stats()[counted]
  exchange:receive(kind, changes, frame_changes)
  for _, action in ipairs(exchange.actions) do assert.equal("note", action.type) end
  assert.equal(state, exchange.client:state())
  assert.equal(before + 1, exchange.client:stats()[counted])
end

describe("an answer that is not ours is ignored:", function()
  it("another transaction's", function()
    ignored(selecting(), "foreign", "offer", { xid = 1 })
    ignored(renewing(), "foreign", "nak", { xid = 1 })
  end)

  it("another client's: chaddr, client-id (RFC 6842), MAC of the frame", function()
    ignored(selecting(), "foreign", "offer", { chaddr = "02:00:5e:00:53:02" })
    ignored(selecting(), "foreign", "offer", { client_id = "\255other" })
    ignored(selecting(), "foreign", "offer", {}, { destination_mac = "02:00:5e:00:53:02" })
    ignored(selecting(), "foreign", "offer", {}, { destination_mac = "01:00:5e:00:00:01" })
  end)

  it("one without client-id is taken, as servers before RFC 6842 send it", function()
    local exchange = selecting()
    exchange:receive("offer", { client_id = false })
    assert.equal("send request", exchange:summary())
  end)

  it("a request, or to another port", function()
    ignored(selecting(), "foreign", "offer", { op = 1 })
    ignored(selecting(), "foreign", "offer", {}, { destination_port = 67 })
    ignored(selecting(), "foreign", "discover")
  end)

  it("one that is not due: ACK or NAK for a DISCOVER, OFFER for a REQUEST, anything when bound", function()
    ignored(selecting(), "foreign", "ack")
    ignored(selecting(), "foreign", "nak")
    ignored(requesting(), "foreign", "offer")
    local exchange = playing.new():bind()
    for _, kind in ipairs({ "offer", "ack", "nak" }) do ignored(exchange, "foreign", kind) end
  end)

  it("ACK or NAK of another server than the chosen one (RFC 2131 section 3.1 (4))", function()
    ignored(requesting(), "foreign", "ack", { server = "10.77.0.2" })
    ignored(requesting(), "foreign", "nak", { server = "10.77.0.2" })
  end)

  it("one before start", function()
    local exchange = playing.new()
    exchange.last = { message = { xid = 0 } }
    ignored(exchange, "foreign", "offer")
  end)
end)

describe("an answer without sense is refused:", function()
  it("no server identifier, or none that a server can have", function()
    ignored(selecting(), "refused", "offer", { server = false })
    for _, server in ipairs({ "127.0.0.1", "224.0.0.1", "255.255.255.255" }) do
      ignored(selecting(), "refused", "offer", { server = server })
    end
    ignored(renewing(), "refused", "nak", { server = false })
    ignored(renewing(), "refused", "ack", { server = false })
  end)

  it("an address that no host can have", function()
    for _, address in ipairs({ "127.0.0.1", "224.0.0.9", "255.255.255.255", "169.254.1.1", "240.0.0.1", "0.1.2.3" }) do
      ignored(selecting(), "refused", "offer", { yiaddr = address })
    end
    ignored(selecting(), "refused", "offer", { yiaddr = false })
    ignored(selecting(), "refused", "offer", { yiaddr = "10.77.0.0" })
    ignored(selecting(), "refused", "offer", { yiaddr = "10.77.0.255" })
    ignored(renewing(), "refused", "ack", { yiaddr = "10.77.0.255" })
  end)

  it("but network and broadcast address of a /31 or /32 are hosts (RFC 3021), as is any without a mask", function()
    for _, changes in ipairs({ { yiaddr = "10.77.0.0", mask = "255.255.255.254" }, { mask = "255.255.255.255" },
      { yiaddr = "10.77.0.0", mask = false }, { yiaddr = "10.77.0.255", mask = "255.0.255.0" } }) do
      local exchange = selecting()
      exchange:receive("offer", changes)
      assert.equal("send request", exchange:summary())
    end
  end)

  it("the server's or the router's own address", function()
    ignored(selecting(), "refused", "offer", { yiaddr = playing.SERVER })
    ignored(selecting(), "refused", "offer", { yiaddr = "10.77.0.254" })
  end)

  it("no lease time, or one of 0 s", function()
    ignored(selecting(), "refused", "offer", { seconds = false })
    ignored(requesting(), "refused", "ack", { seconds = 0 })
  end)

  it("an ACK for another address than was asked for", function()
    ignored(requesting(), "refused", "ack", { yiaddr = "10.77.0.60" })
    local exchange = playing.new({ lease = { address = playing.ADDRESS } })
    exchange:call("start")
    ignored(exchange, "refused", "ack", { yiaddr = "10.77.0.60" })
  end)

  it("and that is said, once a minute at most", function()
    local exchange = selecting()
    for _ = 1, 5 do exchange:receive("offer", { yiaddr = "127.0.0.1" }) end
    assert.same({ "offer of 127.0.0.1 from server 10.77.0.1 refused: its address is no host's" }, exchange.notes)
    exchange.now = exchange.now + 61
    exchange:receive("offer", { yiaddr = "127.0.0.1" })
    assert.equal(2, #exchange.notes)
  end)
end)

describe("a frame that is no message", function()
  it("is counted as bad: checksum, fragment, cut off, not DHCP", function()
    local exchange = selecting()
    local good = exchange:answer("offer")
    local function bad(frame)
      local before = exchange.client:stats().bad
      exchange:call("receive", frame)
      assert.same({}, exchange.actions)
      assert.equal(before + 1, exchange.client:stats().bad)
    end
    bad(good:sub(1, 60) .. "x" .. good:sub(62))
    bad(good:sub(1, 20) .. "\x20\0" .. good:sub(23))
    for length = 0, #good - 1, 7 do bad(good:sub(1, length)) end
    bad(core.wrap({ source_mac = playing.SERVER_MAC, destination_mac = playing.MAC, source = "10.77.0.1",
      destination = "10.77.0.50", payload = ("x"):rep(300) }))
    exchange:call("receive", good)
    assert.equal("send request", exchange:summary())
  end)
end)

describe("how an answer may come:", function()
  local function bound(frame_changes, changes)
    local exchange = selecting()
    exchange:receive("offer", changes, frame_changes)
    exchange:receive("ack", changes, frame_changes)
    assert.equal("check", exchange:summary())
    return exchange
  end

  it("by unicast, to 255.255.255.255 in a unicast frame, by broadcast (RFC 2131 section 4.1)", function()
    bound({ destination = playing.ADDRESS })
    bound({ destination = "255.255.255.255" })
    bound({ destination = "255.255.255.255", destination_mac = "ff:ff:ff:ff:ff:ff" })
  end)

  it("by a relay (giaddr), whose station is then asked to renew", function()
    local exchange = bound({ source = "10.77.0.3", source_mac = "02:00:5e:00:53:33" },
      { giaddr = "10.77.0.3", hops = 1, server = "192.0.2.53" })
    exchange:call("checked", true)
    exchange:wait()
    assert.same({ "192.0.2.53", "02:00:5e:00:53:33" }, { exchange.last.destination, exchange.last.destination_mac })
  end)

  it("the broadcast flag is set when asked for, until the address is there (section 4.1)", function()
    local exchange = playing.new({ broadcast = true })
    exchange:call("start")
    assert.is_true(exchange.last.message.is_broadcast)
    exchange:receive("offer")
    assert.is_true(exchange.last.message.is_broadcast)
    exchange:receive("ack")
    exchange:call("checked", true)
    exchange:wait()
    assert.is_false(exchange.last.message.is_broadcast)
  end)
end)
