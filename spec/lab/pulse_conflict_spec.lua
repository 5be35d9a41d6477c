-- Who is a stranger, and what of theirs the pulse thread reports. The stranger is scapy, arping or another kernel.
local arp = require("moonlb.core.arp")
local loop = require("spec.support.loop")
local ndp = require("moonlb.core.ndp")
local pulsing = require("spec.support.pulsing")
require("moonlb.core.log").configure({ level = "error" })

local V4, V6 = pulsing.V4, pulsing.V6
local FOREIGN, PEER = "02:00:00:00:bb:01", "02:00:00:00:bb:02"
local BROADCAST = "ff:ff:ff:ff:ff:ff"
local test = pulsing.test

local function arp_frame(mac, op, sender, target)
  return ("Ether(src='%s', dst='%s')/ARP(op=%d, hwsrc='%s', psrc='%s', pdst='%s', hwdst='00:00:00:00:00:00')")
    :format(mac, BROADCAST, op, mac, sender, target)
end

local function advertisement(mac, target)
  return ("Ether(src='%s', dst='33:33:00:00:00:01')/IPv6(src='%s', dst='ff02::1', hlim=255)"
    .. "/ICMPv6ND_NA(tgt='%s', R=0, S=0, O=1)/ICMPv6NDOptDstLLAddr(lladdr='%s')"):format(mac, target, target, mac)
end

local function solicitation(mac, source, target)
  return ("Ether(src='%s', dst='33:33:ff:00:01:00')/IPv6(src='%s', dst='ff02::1:ff00:100', hlim=255)"
    .. "/ICMPv6ND_NS(tgt='%s')"):format(mac, source, target)
end

local function conflict(index, address, mac, operation)
  return { type = "conflict", index = index, address = address, mac = mac, operation = operation }
end

-- Wait until the thread has read a frame that was sent last: what came before it has been judged.
local function settle(p, index)
  assert(p:hold("10.77.0.199", index))
  assert(p:publish())
  local before = p:stats().requests
  pulsing.scapy("stranger", arp_frame(FOREIGN, 1, "10.77.0.5", "10.77.0.199"))
  loop.until_true(function() return p:stats().requests > before end, 5, "the last request")
end

describe("pulse, a held address that a stranger claims", function()
  for _, case in ipairs({
    { "a gratuitous request", arp_frame(FOREIGN, 1, V4, V4), V4, "request" },
    { "a gratuitous reply", arp_frame(FOREIGN, 2, V4, V4), V4, "reply" },
    { "a request for another address", arp_frame(FOREIGN, 1, V4, "10.77.0.4"), V4, "request" },
    { "an unsolicited advertisement", advertisement(FOREIGN, V6), V6, "advertisement" },
    { "a solicitation from it", solicitation(FOREIGN, V6, "fd77::7:100"), V6, "solicitation" },
  }) do
    it(("is an event with the stranger's MAC: %s (RFC 5227 section 2.4)"):format(case[1]),
      test(function(p, events, index)
        assert(p:hold(case[3], index))
        assert(p:publish())
        pulsing.scapy("stranger", case[2])
        local event = pulsing.until_event(events, { type = "conflict" })
        assert.same(conflict(index, case[3], FOREIGN, case[4]), event)
        assert.equal(0, p:stats().answered)
      end))
  end

  it("is an event when a second kernel takes it", test(function(p, events, index)
    assert(p:hold(V4, index))
    assert(p:publish())
    pulsing.must("stranger", "ip", "address", "add", V4 .. "/24", "dev", "eth0")
    pulsing.must("stranger", "arping", "-U", "-c", "1", "-w", "2", "-I", "eth0", V4)
    pulsing.must("stranger", "ip", "address", "delete", V4 .. "/24", "dev", "eth0")
    local event = pulsing.until_event(events, { type = "conflict" })
    assert.same(conflict(index, V4, pulsing.mac("stranger"), "request"), event)
  end))

  it("is none when the MAC is the interface's or a node's of ours", test(function(p, events, index, mac)
    for _, address in ipairs({ V4, V6 }) do assert(p:hold(address, index)) end
    assert(p:set_own_macs({ PEER, "02:00:00:00:aa:00" }))
    for _, ours in ipairs({ mac, PEER }) do
      pulsing.scapy("stranger", "[" .. table.concat({ arp_frame(ours, 1, V4, V4), arp_frame(ours, 2, V4, V4),
        advertisement(ours, V6) }, ", ") .. "]")
    end
    settle(p, index)
    assert.same({}, events)
    assert(p:set_own_macs({}))
    pulsing.scapy("stranger", arp_frame(PEER, 2, V4, V4))
    assert.same(conflict(index, V4, PEER, "reply"), pulsing.until_event(events, { type = "conflict" }))
  end))

  it("is reported once a tick, however often it is claimed", test(function(p, events, index)
    assert(p:hold(V4, index))
    assert(p:publish())
    pulsing.scapy("stranger", arp_frame(FOREIGN, 2, V4, V4), 200)
    loop.until_true(function() return p:stats().conflicts == 200 end, 10, "200 conflicts")
    local stats = p:stats()
    assert.is_true(#events >= 1)
    assert.equal(200, #events + stats.events_merged)
  end, { tick = 0.5, gap = 2 }))

  it("costs the loop a bounded number of events when many strangers claim it", test(function(p, events, index)
    assert(p:hold(V4, index))
    assert(p:publish())
    pulsing.must("stranger", "/usr/bin/python3", "-c", ([[
from scapy.all import *
frames = []
for i in range(1000):
    mac = "02:00:00:00:%%02x:%%02x" %% (i >> 8, i & 255)
    frames.append(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=mac, psrc="%s", pdst="%s"))
sendp(frames, iface="eth0", verbose=0)]]):format(V4, V4))
    loop.until_true(function() return p:stats().conflicts == 1000 end, 10, "1000 conflicts")
    local stats = p:stats()
    assert.is_true(stats.events_lost > 0)
    assert.equal(1000, #events + stats.events_lost)
  end, { tick = 1, gap = 3 }))

  it("is none on another interface than the one on which it is held", test(function(p, events, index)
    assert(p:hold(V4, index + 1000))
    assert(p:publish())
    pulsing.scapy("stranger", arp_frame(FOREIGN, 2, V4, V4))
    settle(p, index)
    assert.same({}, events)
  end))
end)

describe("pulse, an address that is probed", function()
  it("is in use when its holder, another kernel, answers our ARP probe (RFC 5227 section 2.1.1)",
    test(function(p, events, index, mac)
      assert(p:probe_for("10.77.0.4", index))
      assert(p:publish())
      assert.is_true(arp.probe(index, mac, "10.77.0.4"))
      assert.same(conflict(index, "10.77.0.4", pulsing.mac("client"), "reply"), pulsing.until_event(events, {}))
    end))

  it("is in use when its holder, another kernel, answers our solicitation (RFC 4862 section 5.4.4)",
    test(function(p, events, index, mac)
      assert(p:probe_for("fd77::4", index))
      assert(p:publish())
      assert.is_true(ndp.probe(index, mac, "fd77::4"))
      assert.same(conflict(index, "fd77::4", pulsing.mac("client"), "advertisement"), pulsing.until_event(events, {}))
    end))

  it("is wanted by two when another host probes for it too (RFC 5227 section 2.1.1, RFC 4862 section 5.4.3)",
    test(function(p, events, index)
      assert(p:probe_for(V4, index))
      assert(p:probe_for(V6, index))
      assert(p:publish())
      pulsing.scapy("stranger", arp_frame(FOREIGN, 1, "0.0.0.0", V4))
      assert.same(conflict(index, V4, FOREIGN, "probe"), pulsing.until_event(events, { address = V4 }))
      pulsing.scapy("stranger", solicitation(FOREIGN, "::", V6))
      assert.same(conflict(index, V6, FOREIGN, "probe"), pulsing.until_event(events, { address = V6 }))
    end))

  it("is free when nobody says anything, and our own probe is no conflict", test(function(p, events, index, mac)
    assert(p:probe_for("10.77.0.101", index))
    assert(p:probe_for("fd77::101", index))
    assert(p:publish())
    assert.is_true(arp.probe(index, mac, "10.77.0.101"))
    assert.is_true(ndp.probe(index, mac, "fd77::101"))
    pulsing.scapy("stranger", arp_frame(mac, 1, "0.0.0.0", "10.77.0.101"))	-- a switch that sends it back
    settle(p, index)
    assert.same({}, events)
  end))

  it("is reported no longer after probe_done", test(function(p, events, index)
    assert(p:probe_for(V4, index))
    assert(p:probe_done(V4, index))
    assert(p:publish())
    pulsing.scapy("stranger", arp_frame(FOREIGN, 2, V4, V4))
    settle(p, index)
    assert.same({}, events)
  end))

  it("is a request like any other once it is held, even while it is still watched", test(function(p, events, index)
    assert(p:probe_for(V4, index))
    assert(p:hold(V4, index))
    assert(p:publish())
    assert.equal(1, pulsing.run("stranger", "arping", "-D", "-c", "1", "-w", "1", "-I", "eth0", V4).code)
    settle(p, index)
    assert.same({}, events)
  end))
end)
