--- DHCPv6 messages and their frames, octet by octet. spec/vectors/dhcp6.txt is what scapy makes
-- (spec/support/dhcp6_vectors.py).
local dhcp6 = require("moonlb.core.dhcp6")
local playing = require("spec.support.dhcp6")

local ADDRESS, SERVER, DUID = playing.ADDRESS, playing.SERVER, playing.DUID
local ROOT = os.getenv("MOONLB_ROOT") or "."

local function unhex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local vectors = {}
for line in io.lines(ROOT .. "/spec/vectors/dhcp6.txt") do
  local name, octets = line:match("^(%S+) (%x+)$")
  vectors[name] = octets
end

local function frame_of(exchange)
  return hex(exchange:action("send").frame)
end

local function soliciting(options)
  local exchange = playing.new(options)
  exchange:call("start")
  exchange:wait()
  return exchange
end

describe("the frames of a client", function()
  it("SOLICIT (RFC 8415 section 18.2.1), with a wish and an FQDN (RFC 4704)", function()
    assert.equal(vectors["solicit"], frame_of(soliciting()))
    assert.equal(vectors["solicit-wish"], frame_of(soliciting({ requested = "fd77::9", fqdn = "web.example.org" })))
  end)

  it("REQUEST (section 18.2.2)", function()
    local exchange = soliciting()
    exchange:receive("advertise")
    exchange:wait()
    assert.equal(vectors["request"], frame_of(exchange))
  end)

  it("CONFIRM (section 18.2.3)", function()
    assert.equal(vectors["confirm"], frame_of(soliciting({ lease = { address = ADDRESS } })))
  end)

  it("RENEW and REBIND (sections 18.2.4, 18.2.5)", function()
    local exchange = playing.new():bind()
    exchange:wait()
    assert.equal(vectors["renew"], frame_of(exchange))
    exchange = playing.new():bind()
    exchange.now = exchange.now + 2000
    exchange:call("tick")
    assert.equal(vectors["rebind"], frame_of(exchange))
  end)

  it("DECLINE and RELEASE (sections 18.2.8, 18.2.7)", function()
    local exchange = soliciting()
    exchange:receive("advertise")
    exchange:wait()
    exchange:receive("reply")
    exchange:call("checked", false)
    assert.equal(vectors["decline"], frame_of(exchange))
    exchange = playing.new():bind()
    exchange:call("release")
    assert.equal(vectors["release"], frame_of(exchange))
  end)
end)

describe("dhcp6.decode", function()
  local function decode(name)
    return assert(dhcp6.decode(assert(dhcp6.unwrap(unhex(vectors[name]))).payload))
  end

  it("reads what a server gives (section 21)", function()
    assert.same({ type = "reply", xid = 0x010203, elapsed = 0, preference = 9, status = 0, client = DUID,
      server = SERVER,
      ia = { iaid = 7, t1 = 900, t2 = 1440, status = 0, addresses = {
        { address = ADDRESS, preferred = 1800, valid = 3600 }, { address = "fd77::51", preferred = 0, valid = 0 } } } },
      decode("reply"))
  end)

  it("reads a status of the IA and of the message, with its text (section 21.13)", function()
    local found = decode("reply-no-binding")
    assert.same({ 0, 3, "no such lease" }, { found.status, found.ia.status, found.message })
    found = decode("reply-not-on-link")
    assert.same({ 4, "elsewhere", nil }, { found.status, found.message, found.ia })
  end)

  it("reads what encode wrote, each field", function()
    local fields = { type = "renew", xid = 0xfffffe, elapsed = 77, preference = 255, status = 5, client = "\0\4abc",
      server = ("s"):rep(130), message = "why", fqdn = "\3web\0", solicit_max = 60,
      ia = { iaid = 0xffffffff, t1 = 1, t2 = 0xffffffff, status = 0,
        addresses = { { address = "fd77::1", preferred = 0xffffffff, valid = 0xffffffff } } } }
    assert.same(fields, dhcp6.decode(dhcp6.encode(fields)))
  end)

  it("leaves out an IA with T1 after T2 and an address preferred beyond its validity (sections 21.4, 21.6)", function()
    local function ia(t1, t2, preferred, valid)
      return dhcp6.decode(dhcp6.encode({ type = "reply", ia = { iaid = 7, t1 = t1, t2 = t2,
        addresses = { { address = ADDRESS, preferred = preferred, valid = valid } } } })).ia
    end
    assert.is_nil(ia(2, 1, 1, 1))
    assert.same({}, ia(1, 2, 2, 1).addresses)
    assert.equal(1, #ia(1, 0, 1, 1).addresses)
  end)

  it("looks at 8 addresses of an IA at the most", function()
    local one = "\0\5\0\24" .. ("\253"):rep(16) .. "\0\0\0\1\0\0\0\2"
    local message = "\7\0\0\1" .. "\0\3" .. string.pack(">I2", 12 + 20 * #one) .. ("\0"):rep(12) .. one:rep(20)
    assert.equal(8, #dhcp6.decode(message).ia.addresses)
  end)

  it("says what is wrong with a message", function()
    local function why(octets)
      local found, text, code = dhcp6.decode(octets)
      assert.same({ nil, "EBADMSG" }, { found, code })
      return (text:gsub("^not a DHCPv6 message: ", ""))
    end
    local length = "an option has a length that it cannot have, or a DUID comes twice"
    assert.equal("it is shorter than 4 octets", why("\7\0\0"))
    assert.equal("its type is none of client and server", why("\0\0\0\1"))
    assert.equal("its type is none of client and server", why("\12\0\0\1"))	-- RELAY-FORW
    assert.equal("an option is cut off", why("\7\0\0\1\0\1\0"))
    assert.equal("an option is cut off", why("\7\0\0\1\0\1\0\9\1"))
    assert.equal(length, why("\7\0\0\1\0\1\0\2ab"))
    assert.equal(length, why("\7\0\0\1" .. ("\0\2\0\3abc"):rep(2)))
    assert.equal(length, why("\7\0\0\1\0\2\0\131" .. ("d"):rep(131)))
    assert.equal(length, why("\7\0\0\1\0\3\0\11" .. ("i"):rep(11)))
    assert.equal(length, why("\7\0\0\1\0\3\0\16" .. ("\0"):rep(12) .. "\0\5\0\9"))
    assert.equal(length, why("\7\0\0\1\0\3\0\39" .. ("\0"):rep(12) .. "\0\5\0\23" .. ("a"):rep(23)))
    assert.equal(length, why("\7\0\0\1\0\13\0\1x"))
    assert.is_table(dhcp6.decode("\7\0\0\1"))
  end)
end)

describe("dhcp6.unwrap", function()
  local FRAME = unhex(vectors["reply"])

  local function why(at, octets)
    local frame = octets and FRAME:sub(1, at - 1) .. octets .. FRAME:sub(at + #octets) or FRAME:sub(1, at)
    local found, text, code = dhcp6.unwrap(frame)
    assert.same({ nil, "EBADMSG" }, { found, code })
    return (text:gsub("^not a UDP datagram: ", ""))
  end

  it("gives addresses, ports and payload, and leaves padding out", function()
    local found = assert(dhcp6.unwrap(FRAME .. "padding"))
    assert.same({ "02:00:5e:00:53:fe", playing.MAC, "fe80::1", playing.SOURCE, 547, 546, #FRAME - 62 },
      { found.source_mac, found.destination_mac, found.source, found.destination, found.source_port,
        found.destination_port, #found.payload })
  end)

  it("refuses a wrong checksum and none (RFC 8200 section 8.1), extension headers, wrong lengths, other protocols",
    function()
      assert.equal("its UDP checksum is wrong", why(61, "\1\1"))
      assert.equal("its UDP checksum is wrong", why(61, "\0\0"))
      assert.equal("it is not UDP, or has extension headers", why(21, "\44"))
      assert.equal("it is not UDP, or has extension headers", why(21, "\0"))
      assert.equal("it is too short for IPv6 and UDP", why(61))
      assert.equal("the length in its IPv6 header does not fit", why(#FRAME - 1))
      assert.equal("the length in its IPv6 header does not fit", why(19, "\0\7"))
      assert.equal("the length in its UDP header does not fit", why(59, "\0\7"))
      assert.equal("the length in its UDP header does not fit", why(59, "\xff\xff"))
      assert.equal("it is not IPv6", why(13, "\8\0"))
      assert.equal("it is not IPv6", why(15, "\x45"))
    end)

  it("never writes a checksum of zero (RFC 8200 section 8.1)", function()
    local fields = assert(dhcp6.unwrap(FRAME))
    local seen = {}
    for word = 0, 0xffff do
      fields.payload = string.pack(">I2", word)
      local frame = dhcp6.wrap(fields)
      seen[frame:sub(61, 62)] = true
      if frame:sub(61, 62) == "\255\255" then	-- the same sum, were it not forbidden
        assert.is_nil((dhcp6.unwrap(frame:sub(1, 60) .. "\0\0" .. frame:sub(63))))
      end
    end
    assert.is_nil(seen["\0\0"])
    assert.is_true(seen["\255\255"])
  end)
end)
