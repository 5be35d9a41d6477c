-- The socket that hears a DHCPv4 client's answers, and nothing else: what the kernel's filter lets through, and
-- checksums.
-- `peer` sends by scapy and by a UDP socket; we listen on eth0 of a veth pair.
local core = require("moonlb.core.dhcp")
local dhcp6 = require("moonlb.core.dhcp6")
local loop = require("spec.support.loop")
local netns = require("spec.support.netns")
local packet = require("moonlb.core.packet")
local process = require("moonlb.sandbox.process")
require("moonlb.core.log").configure({ level = "error" })

local MAC, PEER_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
local index

local function make_link()
  netns.add("peer")
  netns.run("sh", "-c", ([[
set -e
ip link add eth0 address %s type veth peer name eth0 netns peer address %s
ip link set eth0 up
ip -n peer link set eth0 up
ip -n peer address add 10.77.0.1/24 dev eth0
]]):format(MAC, PEER_MAC))
  index = netns.index("eth0")
end

-- `body(frames, socket)`: frames is what was heard so far.
local function test(body)
  return loop.test(function()
    if not index then make_link() end
    local frames = {}
    local socket <close> = assert(packet.dhcp_socket(index, function(frame) frames[#frames + 1] = frame end))
    body(frames, socket)
  end, 60)
end

local SCAPY = [[
from scapy.all import *
mac = bytes.fromhex("02000000000a")
def frame(xid, dst="02:00:00:00:00:0a", chaddr=mac, op=2, dport=68, **ip):
    return Ether(src="02:00:00:00:00:0b", dst=dst) / IP(src="10.77.0.1", dst="255.255.255.255", **ip) \
        / UDP(sport=67, dport=dport) / BOOTP(op=op, xid=xid, chaddr=chaddr) / DHCP(options=[("message-type", 2), "end"])
def send(*frames):
    sendp(list(frames), iface="eth0", verbose=0)
]]

local function scapy(script)
  local result = assert(process.run({ "ip", "netns", "exec", "peer", "/usr/bin/python3", "-c", SCAPY .. script }))
  assert(result.code == 0, result.output)
end

local function xid_of(frame)
  return assert(core.decode(assert(core.unwrap(frame)).payload)).xid
end

-- The transaction ids of what was heard, once the one with id 99 came, which is sent last.
local function heard(frames)
  loop.until_true(function() return frames[1] and xid_of(frames[#frames]) == 99 end, 10, "the last frame")
  local list = {}
  for i = 1, #frames - 1 do list[i] = xid_of(frames[i]) end
  return list
end

describe("packet.dhcp_socket", function()
  it("hears answers with our MAC in chaddr: by unicast, by broadcast, with IPv4 options", test(function(frames)
    scapy([[send(frame(1), frame(2, dst="ff:ff:ff:ff:ff:ff"), frame(3, options=[IPOption(b"\x01\x01\x01\x00")]),
      frame(99))]])
    assert.same({ 1, 2, 3 }, heard(frames))
  end))

  it("hears nothing else: another's, a request, another port, fragments, another station's, another protocol",
    test(function(frames)
      scapy([[send(frame(1, chaddr=bytes.fromhex("02000000000c")), frame(2, chaddr=bytes.fromhex("03000000000a")),
        frame(3, op=1), frame(4, dport=67), frame(5, flags="MF"), frame(6, frag=1), frame(7, dst="02:00:00:00:00:0c"),
        frame(8, proto=6), Ether(dst="02:00:00:00:00:0a", type=0x88b5) / bytes(400), frame(99))]])
      assert.same({}, heard(frames))
    end))

  it("leaves a wrong checksum of the wire wrong", test(function(frames)
    scapy([[
bad = frame(1)
bad[UDP].chksum = 0x1234
send(bad, frame(99))]])
    loop.until_true(function() return #frames == 2 end, 10, "two frames")
    local _, message = core.unwrap(frames[1])
    assert.equal("not a UDP datagram: its UDP checksum is wrong", message)
    assert.equal(99, xid_of(frames[2]))
  end))

  it("completes a checksum that was left to hardware: a server's UDP socket on the same machine", test(function(frames)
    local message = core.encode({ type = "offer", op = 2, xid = 5, chaddr = MAC })
    local hex = message:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    local result = assert(process.run({ "ip", "netns", "exec", "peer", "/usr/bin/python3", "-c", ([[
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
s.bind(("10.77.0.1", 67))
s.sendto(bytes.fromhex("%s"), ("255.255.255.255", 68))]]):format(hex) }))
    assert.equal("", result.output)
    loop.until_true(function() return frames[1] end, 10, "the frame")
    local datagram = assert(core.unwrap(frames[1]))
    assert.same({ "10.77.0.1", 67, 68, message }, { datagram.source, datagram.source_port, datagram.destination_port,
      datagram.payload })
    assert.not_equal("\0\0", frames[1]:sub(41, 42))
  end))

  it("sends whole frames as they are", test(function(_, socket)
    local dump = assert(process.start({ "ip", "netns", "exec", "peer", "tcpdump", "-l", "-n", "-e", "-i", "eth0",
      "udp" }))
    assert(dump:wait_for(function() return dump:output():find("listening on") end, 10), dump:output())
    local frame = core.wrap({ source_mac = MAC, destination_mac = PEER_MAC, source = "10.77.0.9",
      destination = "10.77.0.1", source_port = 68, destination_port = 67,
      payload = core.encode({ type = "discover", chaddr = MAC }) })
    assert.is_true(socket:send(frame))
    assert(dump:wait_for(function() return dump:output():find("10.77.0.9.68 > 10.77.0.1.67", 1, true) end, 10),
      dump:output())
    dump:kill("sigterm")
    dump:wait(5)
  end))

  it("goes on hearing after the link was down", test(function(frames, socket)
    netns.run("ip", "link", "set", "eth0", "down")
    local _, message, code = socket:send(("x"):rep(60))
    assert.equal("ENETDOWN", code)
    assert.matches("sending on interface %d+: Network is down", message)
    netns.run("ip", "link", "set", "eth0", "up")
    scapy("send(frame(99))")
    assert.same({}, heard(frames))
  end))

  it("says what is wrong: no such interface, not Ethernet, gone, closed, misuse", test(function(_, socket)
    local function ignore() end
    local _, message, code = packet.dhcp_socket(999, ignore)
    assert.same({ "ENODEV", "packet socket on interface 999: No such device" }, { code, message })
    _, message, code = packet.dhcp_socket(netns.index("lo"), ignore)
    assert.equal("EOPNOTSUPP", code)
    assert.matches("not an Ethernet interface", message)
    assert.error_matches(function() packet.dhcp_socket(0, ignore) end, "interface index expected")
    assert.error_matches(function() packet.dhcp_socket(index) end, "function expected")
    assert.error_matches(function() socket:send("short") end, "Ethernet frame expected")
    netns.veth("gone", "gone-peer")
    local other = assert(packet.dhcp_socket(netns.index("gone"), ignore))
    netns.run("ip", "link", "delete", "gone")
    _, _, code = other:send(("x"):rep(60))
    assert.truthy(code == "ENXIO" or code == "ENODEV", code)
    other:close()
    other:close()
    assert.error_matches(function() other:send(("x"):rep(60)) end, "socket is closed")
  end))
end)

describe("packet.dhcp6_socket", function()
  local SCAPY6 = SCAPY .. [[
def frame6(xid, dst="02:00:00:00:00:0a", dport=546, **ip):
    return Ether(src="02:00:00:00:00:0b", dst=dst) / IPv6(src="fe80::b", dst="fe80::ff:fe00:a", **ip) \
        / UDP(sport=547, dport=dport) / (b"\x07" + xid.to_bytes(3, "big"))
]]

  -- `body(frames)`: what was heard so far.
  local function test6(body)
    return loop.test(function()
      if not index then make_link() end
      local frames = {}
      local socket <close> = assert(packet.dhcp6_socket(index, function(frame) frames[#frames + 1] = frame end))
      body(frames, socket)
    end, 60)
  end

  local function python(script)
    local result = assert(process.run({ "ip", "netns", "exec", "peer", "/usr/bin/python3", "-c", script }))
    assert(result.code == 0, result.output)
  end

  it("hears what is for port 546 of our station, and nothing else: a group, another port, a fragment, another station",
    test6(function(frames)
      python(SCAPY6 .. [[send(frame6(1), frame6(2, dst="33:33:00:01:00:02"), frame6(3, dport=547),
        Ether(src="02:00:00:00:00:0b",
          dst="02:00:00:00:00:0a") / IPv6(dst="fe80::ff:fe00:a") / IPv6ExtHdrFragment(nh=17)
        / UDP(dport=546) / b"12345678", frame6(4, dst="02:00:00:00:00:0c"), frame(5), frame6(99))]])
      loop.until_true(function() return #frames >= 2 end, 10, "two frames")
      local seen = {}
      for i, frame in ipairs(frames) do seen[i] = dhcp6.decode(assert(dhcp6.unwrap(frame)).payload).xid end
      assert.same({ 1, 99 }, seen)
    end))

  it("completes a checksum that was left to hardware", test6(function(frames)
    netns.run("ip", "-n", "peer", "address", "replace", "fe80::b/64", "dev", "eth0", "nodad")
    netns.run("ip", "-n", "peer", "neigh", "replace", "fe80::ff:fe00:a", "lladdr", MAC, "dev", "eth0")
    python([[
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.sendto(b"\x07\x00\x00\x05", ("fe80::ff:fe00:a", 546, 0, socket.if_nametoindex("eth0")))]])
    loop.until_true(function() return frames[1] end, 10, "the frame")
    assert.equal(5, dhcp6.decode(assert(dhcp6.unwrap(frames[1])).payload).xid)
  end))
end)
