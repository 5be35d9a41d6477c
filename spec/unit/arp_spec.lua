--- ARP frames, byte by byte. The vectors were written by scapy 2.5.0, not by the code under test.
local arp = require("moonlb.core.arp")

local OURS, PEER = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
local BROADCAST, ZERO = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
local ANNOUNCEMENT = "ffffffffffff02000000000a0806000108000604000102000000000a0a4d00090000000000000a4d0009"
local REPLY = "02000000000b02000000000a0806000108000604000202000000000a0a4d000902000000000b0a4d0004"

local function bytes(hex)
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- `frame` with the bytes from offset `at` (0 is the first) replaced.
local function patched(frame, at, with)
  local text = bytes(frame)
  return text:sub(1, at) .. with .. text:sub(at + #with + 1)
end

describe("arp.encode", function()
  it("writes an announcement as RFC 5227 section 2.3 has it: target MAC zero, both addresses its own", function()
    assert.equal(ANNOUNCEMENT, hex(arp.encode({ operation = "request", sender_mac = OURS, sender_ip = "10.77.0.9",
      target_ip = "10.77.0.9" })))
  end)

  it("writes a unicast reply (RFC 826)", function()
    assert.equal(REPLY, hex(arp.encode({ operation = "reply", sender_mac = OURS, sender_ip = "10.77.0.9",
      target_mac = PEER, target_ip = "10.77.0.4", source = OURS, destination = PEER })))
  end)

  it("raises for a field that is no address, and names it", function()
    assert.error_matches(function()
      arp.encode({ operation = "request", sender_mac = OURS, sender_ip = "fd00::1", target_ip = "10.77.0.9" })
    end, "sender_ip: IPv4 address expected, got fd00::1")
    assert.error_matches(function()
      arp.encode({ operation = "request", sender_mac = "2:0:0:0:0:a", sender_ip = "10.0.0.1", target_ip = "10.0.0.1" })
    end, "sender_mac: MAC aa:bb:cc:dd:ee:ff expected")
    assert.error_matches(function()
      arp.encode({ operation = "inform", sender_mac = OURS, sender_ip = "10.0.0.1", target_ip = "10.0.0.1" })
    end, "operation: request or reply expected, got inform")
  end)
end)

describe("arp.decode", function()
  it("reads every field", function()
    assert.same({ operation = "reply", source = OURS, destination = PEER, sender_mac = OURS, sender_ip = "10.77.0.9",
      target_mac = PEER, target_ip = "10.77.0.4" }, arp.decode(bytes(REPLY)))
    assert.same({ operation = "request", source = OURS, destination = BROADCAST, sender_mac = OURS,
      sender_ip = "10.77.0.9", target_mac = ZERO, target_ip = "10.77.0.9" }, arp.decode(bytes(ANNOUNCEMENT)))
  end)

  it("takes Ethernet's padding to 60 bytes", function()
    assert.equal("10.77.0.9", arp.decode(bytes(REPLY) .. ("\0"):rep(18)).sender_ip)
  end)

  it("refuses every length below 42 bytes", function()
    for length = 0, 41 do
      local fields, message, code = arp.decode(bytes(REPLY):sub(1, length))
      assert.is_nil(fields)
      assert.equal("not an ARP frame: frame is shorter than 42 bytes", message)
      assert.equal("EBADMSG", code)
    end
  end)

  for _, case in ipairs({
    { 12, "\x08\x00", "EtherType is not 0x0806" },
    { 14, "\0\6", "hardware type is not 1, Ethernet" },
    { 16, "\x86\xdd", "protocol type is not 0x0800, IPv4" },
    { 18, "\8", "hardware address length is not 6" },
    { 19, "\16", "protocol address length is not 4" },
    { 20, "\0\0", "operation is neither 1, request, nor 2, reply" },
    { 20, "\0\3", "operation is neither 1, request, nor 2, reply" },
    { 20, "\1\1", "operation is neither 1, request, nor 2, reply" },
    { 22, ("\255"):rep(6), "sender hardware address is zero or a group" },
    { 22, "\1", "sender hardware address is zero or a group" },
    { 22, ("\0"):rep(6), "sender hardware address is zero or a group" },
    { 28, "\224", "sender protocol address is multicast, reserved or broadcast" },
    { 28, ("\255"):rep(4), "sender protocol address is multicast, reserved or broadcast" },
  }) do
    it(("refuses a frame whose %s (offset %d)"):format(case[3], case[1]), function()
      local fields, message, code = arp.decode(patched(REPLY, case[1], case[2]))
      assert.is_nil(fields)
      assert.equal("not an ARP frame: " .. case[3], message)
      assert.equal("EBADMSG", code)
    end)
  end
end)

describe("arp.announce", function()
  it("raises for what is no IPv4 address, before anything is sent", function()
    assert.error_matches(function() arp.announce(1, OURS, { "10.0.0.1", "fd00::1" }) end, "IPv4 address expected")
    assert.error_matches(function() arp.announce(0, OURS, { "10.0.0.1" }) end, "interface index expected")
    assert.error_matches(function() arp.announce(1, "x", { "10.0.0.1" }) end, "MAC aa:bb:cc:dd:ee:ff expected")
    assert.error_matches(function() arp.announce(1, OURS, { "10.0.0.1" }, -1) end, "seconds from 0 to 10 expected")
  end)
end)
