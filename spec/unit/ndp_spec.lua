--- Neighbour discovery frames, byte by byte. The vectors were written by scapy 2.5.0, not by the code under test.
local ndp = require("moonlb.core.ndp")

local OURS, PEER = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
local VIP, GROUP, GROUP_MAC = "fd77::9", "ff02::1:ff00:9", "33:33:ff:00:00:09"
local NA = "02000000000b02000000000a86dd" .. "6000000000203afffd770000000000000000000000000009"
  .. "fd77000000000000000000000000000488001b1c60000000fd770000000000000000000000000009020102000000000a"
local NS = "3333ff00000902000000000b86dd" .. "6000000000203afffd770000000000000000000000000004"
  .. "ff0200000000000000000001ff00000987007c8e00000000fd770000000000000000000000000009010102000000000b"
local DAD = "3333ff00000902000000000b86dd" .. "6000000000183aff00000000000000000000000000000000"
  .. "ff0200000000000000000001ff00000987007d1e00000000fd770000000000000000000000000009"

local function bytes(hex)
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- One's complement sum over 16-bit words (RFC 1071 section 1), written apart from the code under test.
local function checksum(text)
  local sum = 0
  for i = 1, #text, 2 do sum = sum + ((">I2"):unpack(text:sub(i, i + 1) .. "\0")) end
  while sum > 0xffff do sum = (sum & 0xffff) + (sum >> 16) end
  return ~sum & 0xffff
end

-- `frame` with the bytes from offset `at` (0 is the first) replaced and its checksum made right again.
local function patched(frame, at, with)
  local text = bytes(frame)
  text = text:sub(1, at) .. with .. text:sub(at + #with + 1)
  local payload = text:sub(55, 56) .. "\0\0" .. text:sub(59)
  local pseudo = text:sub(23, 54) .. (">I4I4"):pack(#payload, 58)
  return text:sub(1, 56) .. (">I2"):pack(checksum(pseudo .. payload)) .. text:sub(59)
end

describe("ndp.encode_na", function()
  it("writes a solicited advertisement (RFC 4861 section 4.4)", function()
    assert.equal(NA, hex(ndp.encode_na({ source = OURS, destination = PEER, source_ip = VIP, destination_ip = "fd77::4",
      target = VIP, link_address = OURS, is_solicited = true, is_override = true })))
  end)

  it("puts each flag into its own bit", function()
    local function flags(fields)
      fields.source, fields.destination, fields.source_ip = OURS, PEER, VIP
      fields.destination_ip, fields.target = "fd77::4", VIP
      return ndp.encode_na(fields):byte(59)
    end
    assert.equal(0x80, flags({ is_router = true }))
    assert.equal(0x40, flags({ is_solicited = true }))
    assert.equal(0x20, flags({ is_override = true }))
    assert.equal(0, flags({}))
  end)
end)

describe("ndp.encode_ns", function()
  it("writes a solicitation with its source link-layer address (RFC 4861 section 4.3)", function()
    assert.equal(NS, hex(ndp.encode_ns({ source = PEER, destination = GROUP_MAC, source_ip = "fd77::4",
      destination_ip = GROUP, target = VIP, link_address = PEER })))
  end)

  it("writes one of duplicate address detection: unspecified source, no option (RFC 4862 section 5.4.2)", function()
    assert.equal(DAD, hex(ndp.encode_ns({ source = PEER, destination = GROUP_MAC, source_ip = "::",
      destination_ip = GROUP, target = VIP })))
  end)

  it("raises for a field that is no address, and names it", function()
    assert.error_matches(function()
      ndp.encode_ns({ source = PEER, destination = GROUP_MAC, source_ip = "10.0.0.1", destination_ip = GROUP,
        target = VIP })
    end, "source_ip: IPv6 address expected, got 10.0.0.1")
    assert.error_matches(function()
      ndp.encode_ns({ source = PEER, destination = GROUP_MAC, source_ip = "::", destination_ip = GROUP })
    end, "target: string expected, got nil")
  end)
end)

describe("ndp.decode", function()
  it("reads every field", function()
    assert.same({ type = "na", source = OURS, destination = PEER, source_ip = VIP, destination_ip = "fd77::4",
      target = VIP, link_address = OURS, is_router = false, is_solicited = true,
      is_override = true }, ndp.decode(bytes(NA)))
    assert.same({ type = "ns", source = PEER, destination = GROUP_MAC, source_ip = "fd77::4", destination_ip = GROUP,
      target = VIP, link_address = PEER }, ndp.decode(bytes(NS)))
    assert.same({ type = "ns", source = PEER, destination = GROUP_MAC, source_ip = "::", destination_ip = GROUP,
      target = VIP }, ndp.decode(bytes(DAD)))
  end)

  it("takes Ethernet's padding", function()
    assert.equal(VIP, ndp.decode(bytes(NS) .. ("\0"):rep(10)).target)
  end)

  it("skips options it does not know, such as a nonce (RFC 4861 section 4.6, RFC 7527)", function()
    local text = bytes(DAD) .. "\14\1\1\2\3\4\5\6"
    assert.equal(VIP, ndp.decode(patched(hex(text), 18, "\0\32")).target)
  end)

  it("refuses every length below what the payload length says", function()
    for length = 0, #NS // 2 - 1 do
      local fields, message, code = ndp.decode(bytes(NS):sub(1, length))
      assert.is_nil(fields)
      assert.matches(length < 78 and "shorter than 78" or "more than the frame holds", message)
      assert.equal("EBADMSG", code)
    end
  end)

  it("refuses a wrong checksum, whichever bit is turned over", function()
    local text = bytes(NS)
    for at = 23, #text do	-- from the source address on; the Ethernet header is not covered
      local turned = text:sub(1, at - 1) .. string.char(text:byte(at) ~ 1) .. text:sub(at + 1)
      assert.is_nil(ndp.decode(turned), "byte " .. at)
    end
  end)

  for _, case in ipairs({
    { NS, 6, "\1", "Ethernet source is zero or a group" },
    { NS, 12, "\8\0", "EtherType is not 0x86dd" },
    { NS, 14, "\64", "IP version is not 6" },
    { NS, 18, "\0\23", "ICMP length is less than 24" },
    { NS, 18, "\0\33", "payload length is more than the frame holds" },
    { NS, 20, "\0", "next header is not 58, ICMPv6" },
    { NS, 21, "\254", "hop limit is not 255: forwarded by a router" },
    { NS, 22, "\255", "source is a multicast or the loopback address" },
    { NS, 22, ("\0"):rep(15) .. "\1", "source is a multicast or the loopback address" },
    { NS, 22, ("\0"):rep(16), "source is unspecified, yet there is a source link-layer address" },
    { DAD, 38, "\255\2" .. ("\0"):rep(13) .. "\1", "source is unspecified and destination no solicited-node group" },
    { NS, 54, "\133", "ICMP type is neither 135, solicitation, nor 136, advertisement" },
    { NS, 55, "\1", "ICMP code is not 0" },
    { NS, 62, "\255", "target is a multicast address" },
    { NA, 62, "\255", "target is a multicast address" },
    { NA, 22, ("\0"):rep(16), "source of an advertisement is unspecified" },
    { NA, 38, "\255\2", "a multicast advertisement says it was solicited" },
    { NS, 79, "\0", "an option has length zero" },
    { NS, 79, "\2", "an option is longer than the message" },
    { NS, 80, "\1", "link-layer address option holds zero or a group" },
    { NS, 80, ("\0"):rep(6), "link-layer address option holds zero or a group" },
  }) do
    it(("refuses a frame: %s (offset %d)"):format(case[4], case[2]), function()
      local fields, message, code = ndp.decode(patched(case[1], case[2], case[3]))
      assert.is_nil(fields)
      assert.equal("not a neighbour discovery frame: " .. case[4], message)
      assert.equal("EBADMSG", code)
    end)
  end
end)

describe("ndp.announce", function()
  it("raises for what is no IPv6 address, before anything is sent", function()
    assert.error_matches(function() ndp.announce(1, OURS, { "fd00::1", "10.0.0.1" }) end, "IPv6 address expected")
  end)
end)
