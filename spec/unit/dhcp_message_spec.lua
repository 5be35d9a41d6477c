--- DHCPv4 messages and their frames, octet by octet. spec/vectors/dhcp.txt is what scapy makes
-- (spec/support/dhcp_vectors.py).
local dhcp = require("moonlb.core.dhcp")
local playing = require("spec.support.dhcp")

local MAC, CLIENT_ID, ADDRESS = playing.MAC, playing.CLIENT_ID, playing.ADDRESS
local ROOT = os.getenv("MOONLB_ROOT") or "."

local function unhex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local vectors = {}
for line in io.lines(ROOT .. "/spec/vectors/dhcp.txt") do
  local name, octets = line:match("^(%S+) (%x+)$")
  vectors[name] = octets
end

local function frame_of(exchange)
  return hex(exchange:action("send").frame)
end

local function message(tail, changes)
  local fields = { type = "ack", op = 2, xid = 7, chaddr = MAC }
  for name, value in pairs(changes or {}) do fields[name] = value end
  return dhcp.encode(fields):sub(1, 240) .. tail
end

local ACK = "\53\1\5"

describe("the frames of a client", function()
  local function start(options)
    local all = { host_name = "web" }
    for name, value in pairs(options or {}) do all[name] = value end
    return playing.new(all)
  end

  it("DISCOVER (RFC 2131 section 4.4.1, table 5)", function()
    local exchange = start()
    exchange:call("start")
    assert.equal(vectors["discover"], frame_of(exchange))
  end)

  it("DISCOVER with a wish, the broadcast flag and an FQDN instead of the host name (RFC 4702 section 3.1)", function()
    local exchange = start({ requested = "10.77.0.9", broadcast = true, fqdn = "web.example.org" })
    exchange:call("start")
    assert.equal(vectors["discover-wish"], frame_of(exchange))
  end)

  it("REQUEST of an offer, with its server and address (section 4.3.2)", function()
    local exchange = start()
    exchange:call("start")
    exchange:receive("offer")
    assert.equal(vectors["request-selecting"], frame_of(exchange))
  end)

  it("REQUEST after a reboot, without server (section 4.3.2)", function()
    local exchange = start({ lease = { address = ADDRESS } })
    exchange:call("start")
    assert.equal(vectors["request-rebooting"], frame_of(exchange))
  end)

  it("REQUEST that renews, to the server alone; that rebinds, to all (section 4.3.2)", function()
    local exchange = start():bind()
    exchange:wait()
    assert.equal(vectors["request-renewing"], frame_of(exchange))
    exchange:wait_until(exchange.client:lease().at + exchange.client:lease().t2 - 0.5)
    exchange:wait()
    assert.equal("rebinding", exchange.client:state())
    assert.equal(vectors["request-rebinding"], frame_of(exchange))
  end)

  it("DECLINE and RELEASE say why (section 4.4.1, table 5)", function()
    local exchange = start()
    exchange:call("start")
    exchange:receive("offer")
    exchange:receive("ack")
    exchange:call("checked", false)
    assert.equal(vectors["decline"], frame_of(exchange))
    exchange = start():bind()
    exchange:call("release", "the Service is deleted")
    assert.equal(vectors["release"], frame_of(exchange))
  end)
end)

describe("dhcp.decode", function()
  local function decode(name)
    return assert(dhcp.decode(assert(dhcp.unwrap(unhex(vectors[name]))).payload))
  end

  it("reads every option that counts (RFC 2132)", function()
    assert.same({ type = "ack", op = 2, hops = 0, xid = 0x01020304, secs = 0, is_broadcast = false, yiaddr = ADDRESS,
      chaddr = MAC, server = "10.77.0.1", seconds = 3600, t1 = 900, t2 = 1800, mask = "255.255.255.0",
      router = "10.77.0.254", client_id = CLIENT_ID }, decode("ack-plain"))
  end)

  it("reads options in file and sname when option 52 says so (RFC 2132 section 9.3)", function()
    local found = decode("ack-overloaded")
    assert.same({ "10.77.0.1", 3600, "255.255.255.0" }, { found.server, found.seconds, found.mask })
  end)

  it("does not look into file and sname otherwise", function()
    local octets = message("\53\1\5\52\1\1\255")
    octets = octets:sub(1, 44) .. "\1\4\255\255\255\0\255" .. octets:sub(52, 108) .. "\51\4\0\0\0\9\255"
      .. octets:sub(116)
    local found = dhcp.decode(octets)
    assert.equal(9, found.seconds)
    assert.is_nil(found.mask)
  end)

  it("joins the parts of a long option (RFC 3396 section 7)", function()
    assert.equal(("a"):rep(255) .. ("b"):rep(45), decode("ack-long").message)
  end)

  it("joins parts across the areas in the order options, file, sname (RFC 3396 section 5)", function()
    local octets = message("\53\1\5\52\1\3\12\1w\255")
    octets = octets:sub(1, 44) .. "\12\1b\255" .. octets:sub(49, 108) .. "\12\1e\255" .. octets:sub(113)
    assert.equal("web", dhcp.decode(octets).host_name)
  end)

  it("reads what encode wrote, each field", function()
    local fields = { type = "request", op = 1, hops = 2, xid = 0xfffffffe, secs = 9, is_broadcast = true,
      ciaddr = "10.0.0.1", yiaddr = "10.0.0.2", siaddr = "10.0.0.3", giaddr = "10.0.0.4", chaddr = MAC,
      server = "10.0.0.5", requested = "10.0.0.6", seconds = 0xffffffff, t1 = 0, t2 = 1, mask = "255.0.0.0",
      router = "10.0.0.7", client_id = "\1\2", host_name = "web", fqdn = "web.example.org", message = ("m"):rep(300),
      parameters = "\1\3", max_message = 1472 }
    assert.same(fields, dhcp.decode(dhcp.encode(fields)))
  end)

  it("takes a message without the end option, as some servers send", function()
    assert.equal("ack", dhcp.decode(message(ACK)).type)
  end)

  it("takes an option of the wrong length for none", function()
    local found = dhcp.decode(message("\53\1\5\51\3\0\0\1\54\5\10\0\0\1\0\3\6\10\0\0\1\0\0\255"))
    assert.same({}, { found.seconds, found.server, found.router })
  end)

  it("says what is wrong with a message", function()
    local function why(octets)
      local found, text, code = dhcp.decode(octets)
      assert.same({ nil, "EBADMSG" }, { found, code })
      return (text:gsub("^not a DHCP message: ", ""))
    end
    local good = message(ACK .. "\255")
    assert.is_table(dhcp.decode(good))
    assert.equal("it is shorter than 240 octets", why(good:sub(1, 239)))
    assert.equal("it is not BOOTP over Ethernet", why("\3" .. good:sub(2)))
    assert.equal("it is not BOOTP over Ethernet", why(good:sub(1, 1) .. "\6" .. good:sub(3)))
    assert.equal("it is not BOOTP over Ethernet", why(good:sub(1, 2) .. "\16" .. good:sub(4)))
    assert.equal("it has not the magic cookie of DHCP", why(good:sub(1, 239) .. "x" .. good:sub(241)))
    assert.equal("it has no DHCP message type, or none of RFC 2132", why(message("\255")))
    assert.equal("it has no DHCP message type, or none of RFC 2132", why(message("\53\1\9\255")))
    assert.equal("it has no DHCP message type, or none of RFC 2132", why(message("\53\1\5\53\1\5\255")))
    assert.equal("an option is cut off", why(message("\53\1\5\51\4\0\0\1")))
    assert.equal("an option is cut off", why(message("\53\1\5\51")))
    assert.equal("an option in file or sname is cut off",
      why(message("\53\1\5\52\1\2\255"):gsub("^(" .. ("."):rep(44) .. ")..", "%1\1\255")))
    assert.equal("its option overload is not 1, 2 or 3", why(message("\53\1\5\52\1\4\255")))
    assert.equal("an option is longer than 512 octets",
      why(message(ACK .. ("\12\255" .. ("a"):rep(255)):rep(3) .. "\255")))
  end)
end)

describe("dhcp.encode", function()
  it("pads to 300 octets (RFC 951), and splits a long option (RFC 3396)", function()
    assert.equal(300, #dhcp.encode({ type = "discover", chaddr = MAC }))
    local long = dhcp.encode({ type = "discover", chaddr = MAC, message = ("m"):rep(256) })
    assert.equal("\56\255" .. ("m"):rep(255) .. "\56\1m\255", long:sub(244))
  end)

  it("writes a lone label as not fully qualified (RFC 4702 section 2.3)", function()
    assert.truthy(dhcp.encode({ type = "discover", chaddr = MAC, fqdn = "web" }):find("\81\7\5\0\0\3web\255", 1, true))
    assert.truthy(dhcp.encode({ type = "discover", chaddr = MAC, fqdn = "web." }):find("\81\8\5\0\0\3web\0\255", 1,
      true))
  end)

  it("raises for what cannot be said, and names the field", function()
    local function raises(pattern, changes)
      local fields = { type = "discover", chaddr = MAC }
      for name, value in pairs(changes) do fields[name] = value end
      assert.error_matches(function() dhcp.encode(fields) end, pattern)
    end
    raises("type: discover, .* expected, got hello", { type = "hello" })
    raises("yiaddr: IPv4 address expected, got 10.0.0", { yiaddr = "10.0.0" })
    raises("fqdn: host name expected, got a..b", { fqdn = "a..b" })
    raises("fqdn: host name expected, got %-a", { fqdn = "-a" })
    raises("fqdn: host name expected", { fqdn = ("a"):rep(64) })
    raises("client_id: 512 octets at most", { client_id = ("x"):rep(513) })
    raises("xid: integer from 0", { xid = -1 })
  end)
end)

describe("dhcp.unwrap", function()
  local FRAME = unhex(vectors["ack-plain"])

  local function changed(at, octets)
    return FRAME:sub(1, at - 1) .. octets .. FRAME:sub(at + #octets)
  end

  local function why(frame)
    local found, text, code = dhcp.unwrap(frame)
    assert.same({ nil, "EBADMSG" }, { found, code })
    return (text:gsub("^not a UDP datagram: ", ""))
  end

  it("gives addresses, ports and payload, and leaves padding out", function()
    local found = assert(dhcp.unwrap(FRAME .. "padding"))
    assert.same({ "02:00:5e:00:53:fe", MAC, "10.77.0.1", ADDRESS, 67, 68, #FRAME - 42 }, { found.source_mac,
      found.destination_mac, found.source, found.destination, found.source_port, found.destination_port,
        #found.payload })
  end)

  it("steps over IPv4 options", function()
    local fields = assert(dhcp.unwrap(FRAME))
    -- IHL 6, total length 4 more, one option word (NOP NOP NOP EOL); the header's checksum made anew by hand
    local ip = "\x46" .. FRAME:sub(16, 16) .. string.pack(">I2", #FRAME - 14 + 4) .. FRAME:sub(19, 24) .. "\0\0"
      .. FRAME:sub(27, 34) .. "\1\1\1\0"
    local sum = 0
    for i = 1, #ip, 2 do sum = sum + string.unpack(">I2", ip, i) end
    sum = (sum & 0xffff) + (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16)
    ip = ip:sub(1, 10) .. string.pack(">I2", ~sum & 0xffff) .. ip:sub(13)
    assert.same(fields, dhcp.unwrap(FRAME:sub(1, 14) .. ip .. FRAME:sub(35)))
  end)

  it("takes a UDP checksum of zero for none (RFC 768)", function()
    assert.is_table(dhcp.unwrap(changed(41, "\0\0")))
  end)

  it("never writes one of zero: 0xffff is the same sum (RFC 768)", function()
    local fields = assert(dhcp.unwrap(FRAME))
    local seen = {}
    for word = 0, 0xffff do
      fields.payload = string.pack(">I2", word)
      seen[dhcp.wrap(fields):sub(41, 42)] = true
    end
    assert.is_nil(seen["\0\0"])
    assert.is_true(seen["\255\255"])
  end)

  it("refuses wrong checksums of IPv4 and of UDP", function()
    assert.equal("its UDP checksum is wrong", why(changed(41, "\1\1")))
    assert.equal("its UDP checksum is wrong", why(changed(60, "x")))
    assert.equal("its IPv4 checksum is wrong", why(changed(25, "\1\1")))
  end)

  it("refuses fragments", function()
    assert.equal("it is a fragment", why(changed(21, "\x20\0")))
    assert.equal("it is a fragment", why(changed(21, "\0\1")))
  end)

  it("refuses lengths that do not fit", function()
    assert.equal("it is too short for IPv4 and UDP", why(FRAME:sub(1, 41)))
    assert.equal("the lengths in its IPv4 header do not fit", why(FRAME:sub(1, -2)))
    assert.equal("the lengths in its IPv4 header do not fit", why(changed(15, "\x44")))
    assert.equal("the lengths in its IPv4 header do not fit", why(changed(17, "\0\27")))
    assert.equal("the length in its UDP header does not fit", why(changed(39, "\0\7")))
    assert.equal("the length in its UDP header does not fit", why(changed(39, "\xff\xff")))
  end)

  it("refuses what is not UDP over IPv4", function()
    assert.equal("it is not IPv4", why(changed(13, "\x86\xdd")))
    assert.equal("it is not IPv4", why(changed(15, "\x65")))
    assert.equal("it is not UDP", why(changed(24, "\6")))
  end)
end)

describe("dhcp.client_id and dhcp.mac", function()
  it("are 255, IAID and DUID-UUID (RFC 4361 section 6.1, RFC 6355), and a locally administered station's", function()
    local id = dhcp.client_id("cluster", "default", "web")
    assert.equal(23, #id)
    assert.equal("\255", id:sub(1, 1))
    assert.equal("\0\4", id:sub(6, 7))
    assert.equal(8, id:byte(14) >> 4)
    assert.equal(2, id:byte(16) >> 6)
    assert.matches("^02:", dhcp.mac("cluster", "default", "web"))
  end)

  it("are what SHA-256 makes of the texts: the same in each version of moonlb", function()
    -- printf 'moonlb DHCP identity\0cluster\0default\0web\0' | sha256sum, cut as the RFCs say
    assert.equal("ff6aabbc400004f29141b42a11856b85ba4a5dbfb456c5", hex(dhcp.client_id("cluster", "default", "web")))
    assert.equal("02:05:2a:9a:16:33", dhcp.mac("cluster", "default", "web"))
  end)

  it("differ between clusters, namespaces and names, and cannot be shifted into each other", function()
    local seen = {}
    for _, texts in ipairs({ { "a", "b", "c" }, { "b", "b", "c" }, { "a", "a", "c" }, { "a", "b", "d" }, { "ab", "",
      "c" },
      { "a", "bc", "" } }) do
      local id, mac = dhcp.client_id(table.unpack(texts)), dhcp.mac(table.unpack(texts))
      assert.is_nil(seen[id])
      assert.is_nil(seen[mac])
      seen[id], seen[mac] = true, true
    end
    assert.error_matches(function() dhcp.mac("a\0", "b", "c") end, "NUL")
  end)
end)
