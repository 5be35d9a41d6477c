-- The pulse thread answers for addresses that stand on lo, judged by arping, ndisc6 and a second kernel.
local loop = require("spec.support.loop")
local process = require("moonlb.sandbox.process")
local pulsing = require("spec.support.pulsing")
local uv = require("luv")
require("moonlb.core.log").configure({ level = "error" })

local V4, V6 = pulsing.V4, pulsing.V6
local test = pulsing.test

local function hold(p, index, ...)
  for _, address in ipairs({ ... }) do assert(p:hold(address, index)) end
  assert(p:publish())
end

-- CPU time of the pulse thread in clock ticks (proc(5), utime and stime of its stat).
local function thread_ticks()
  for task in io.popen("ls /proc/$PPID/task"):lines() do
    local file = io.open("/proc/self/task/" .. task .. "/stat")
    local fields = file and file:read("a"):match("%(pulse%) (.*)")
    if file then file:close() end
    if fields then
      local utime, stime = fields:match("^%S+" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
      return tonumber(utime) + tonumber(stime)
    end
  end
  error("no thread named pulse")
end

describe("pulse and ARP", function()
  it("answers for a held address with one MAC, the interface's (RFC 826)", test(function(p, _, index, mac)
    hold(p, index, V4)
    local macs, code, output = pulsing.who_has(V4)
    assert.same({ mac }, macs, output)
    assert.equal(0, code)
  end))

  it("leaves an address on lo that is not held without an answer, and the host's own to the kernel",
    test(function(_, _, _, mac)
      local macs, code = pulsing.who_has(V4)
      assert.same({}, macs)
      assert.equal(1, code)
      assert.same({ mac }, (pulsing.who_has("10.77.0.2")))
    end))

  it("answers a probe: the address is taken (RFC 5227 section 2.1.1)", test(function(p, _, index)
    hold(p, index, V4)
    assert.equal(1, pulsing.run("client", "arping", "-D", "-c", "2", "-w", "2", "-I", "eth0", V4).code)
    assert.equal(0, pulsing.run("client", "arping", "-D", "-c", "1", "-w", "1", "-I", "eth0", "10.77.0.101").code)
  end))

  it("answers on the interface on which the address is held, and on no other", test(function(p, _, index)
    pulsing.must(nil, "sh", "-c", "ip link add other type veth peer name other-end && ip link set other up")
    local other = pulsing.index("other")
    assert(p:attach(other, pulsing.mac(nil, "other")))
    hold(p, other, V4)
    assert.same({}, (pulsing.who_has(V4)))
    hold(p, index, V4)
    assert.equal(1, #pulsing.who_has(V4))
    pulsing.must(nil, "ip", "link", "delete", "other")
  end))

  it("is silent once the address is dropped, the interface detached, or only a probe is on",
    test(function(p, _, index, mac)
      hold(p, index, V4)
      assert.same({ mac }, (pulsing.who_has(V4)))
      assert(p:drop(V4, index))
      assert(p:probe_for(V4, index))
      assert(p:publish())
      assert.same({}, (pulsing.who_has(V4)))
      hold(p, index, V4)
      assert(p:detach(index))
      assert.same({}, (pulsing.who_has(V4)))
      assert(p:attach(index, mac))
      assert.same({ mac }, (pulsing.who_has(V4)))
    end))

  it("answers with the interface's new MAC after set_mac", test(function(p, _, index, mac)
    local changed = "02:00:00:00:77:02"
    hold(p, index, V4, V6)
    pulsing.must(nil, "ip", "link", "set", "eth0", "address", changed)
    assert(p:set_mac(index, changed))
    assert.same({ changed }, (pulsing.who_has(V4)))
    assert.same({ changed }, (pulsing.who_has(V6)))
    pulsing.must(nil, "ip", "link", "set", "eth0", "address", mac)
    local ok, message, code = p:set_mac(99999, mac)
    assert.is_nil(ok)
    assert.matches("on interface 99999", message)
    assert.equal("ENODEV", code)
  end))

  it("does not hear the frames of a VLAN on the same wire", test(function(p, _, index)
    hold(p, index, V4)
    local ether, ask = "Ether(dst='ff:ff:ff:ff:ff:ff')", ("ARP(pdst='%s', psrc='10.77.0.4')"):format(V4)
    pulsing.scapy("client", ("[%s/Dot1Q(vlan=7)/%s, %s/%s]"):format(ether, ask, ether, ask))
    loop.until_true(function() return p:stats().answered > 0 end, 5, "an answer to the untagged request")
    assert.equal(1, p:stats().requests)
  end))
end)

describe("pulse and neighbour discovery", function()
  local function switch_has_group()
    return pulsing.must("switch", "bridge", "mdb", "show"):find("p%-node[^\n]*ff02::1:ff00:200") ~= nil
  end

  it("answers for a held address through a switch that snoops on MLD (RFC 4861 section 7.2.4)",
    test(function(p, _, index, mac)
      local vip = "fd77::200"
      assert.is_false(switch_has_group())
      hold(p, index, vip)
      loop.until_true(switch_has_group, 5, "the switch's entry for the solicited-node group")
      local macs, code, output = pulsing.who_has(vip)
      assert.same({ mac }, macs, output)
      assert.equal(0, code)
      assert(p:drop(vip, index))
      assert(p:publish())
      assert.same({}, (pulsing.who_has(vip)))
      assert.is_nil(pulsing.must(nil, "ip", "maddress", "show", "dev", "eth0"):find("ff02::1:ff00:200", 1, true))
    end))

  it("keeps the group of two addresses until both are dropped", test(function(p, _, index, mac)
    local twin = "fd77:1::100"
    hold(p, index, V6, twin)
    assert(p:drop(twin, index))
    assert(p:publish())
    assert.same({ mac }, (pulsing.who_has(V6)))
    assert(p:drop(V6, index))
    assert.is_nil(pulsing.must(nil, "ip", "maddress", "show", "dev", "eth0"):find("ff02::1:ff00:100", 1, true))
  end))

  it("answers on an interface that has no IPv6 of its own", test(function(p, _, index, mac)
    local vip = "fd77::300"
    pulsing.must(nil, "ip", "link", "set", "eth0", "mtu", "1000")	-- below IPv6's least, so the kernel takes it off
    hold(p, index, vip)
    assert.is_truthy(pulsing.must(nil, "ip", "maddress", "show", "dev", "eth0"):find("33:33:ff:00:03:00", 1, true))
    pulsing.must("switch", "ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "0")	-- no IPv6, no MLD
    assert.same({ mac }, (pulsing.who_has(vip)))
    assert(p:drop(vip, index))
    assert.is_nil(pulsing.must(nil, "ip", "maddress", "show", "dev", "eth0"):find("33:33:ff:00:03:00", 1, true))
    pulsing.must("switch", "ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "1")
    pulsing.must(nil, "ip", "link", "set", "eth0", "mtu", "1500")
    pulsing.must(nil, "ip", "address", "replace", "fd77::2/64", "dev", "eth0", "nodad")
  end))

  it("makes duplicate address detection of a kernel fail (RFC 4862 section 5.4.4)", test(function(p, _, index)
    hold(p, index, V6)
    pulsing.must("stranger", "ip", "address", "add", V6 .. "/64", "dev", "eth0")
    loop.until_true(function()
      return pulsing.must("stranger", "ip", "address", "show", "dev", "eth0"):find("dadfailed", 1, true)
    end, 10, "dadfailed")
    pulsing.must("stranger", "ip", "address", "delete", V6 .. "/64", "dev", "eth0")
  end))
end)

describe("pulse and its interface", function()
  it("reports a link that goes down and answers again when it is up", test(function(p, events, index, mac)
    hold(p, index, V4)
    pulsing.must(nil, "ip", "link", "set", "eth0", "down")
    pulsing.until_event(events, { type = "interface_error", index = index, code = "ENETDOWN" })
    pulsing.must(nil, "ip", "link", "set", "eth0", "up")
    loop.until_true(function() return pulsing.who_has(V4)[1] == mac end, 10, "an answer")
    pulsing.must(nil, "ip", "address", "replace", "fd77::2/64", "dev", "eth0", "nodad")
  end))

  it("reports an interface that is gone, does not spin, and attaches to its successor", test(function(p, events)
    local function make()
      pulsing.must(nil, "ip", "link", "add", "gone", "type", "veth", "peer", "name", "gone-end")
      for _, name in ipairs({ "gone", "gone-end" }) do pulsing.must(nil, "ip", "link", "set", name, "up") end
      return pulsing.index("gone"), pulsing.mac(nil, "gone")
    end
    local index, mac = make()
    assert(p:attach(index, mac))
    hold(p, index, V4, V6)
    pulsing.must(nil, "ip", "link", "delete", "gone")
    pulsing.until_event(events, { type = "interface_error", index = index, code = "ENODEV" })
    local before, at = thread_ticks(), uv.hrtime()
    loop.until_true(function() return uv.hrtime() - at > 5e8 end)	-- half a second, 50 clock ticks, to measure over
    assert.is_true(thread_ticks() - before < 25, "the thread spins")
    local ok, _, code = p:attach(index, mac)
    assert.is_nil(ok)
    assert.equal("ENODEV", code)
    index, mac = make()
    assert(p:attach(index, mac))
    pulsing.must(nil, "ip", "link", "delete", "gone")
    assert(p:detach(index))
  end))

  it("refuses what is not Ethernet, and says so", test(function(p)
    local ok, message, code = p:attach(1, "02:00:00:00:00:01")
    assert.is_nil(ok)
    assert.equal("pulse: listening on interface 1 (not an Ethernet interface): Operation not supported", message)
    assert.equal("EOPNOTSUPP", code)
  end))
end)

describe("pulse, when the process stops", function()
  -- Another process holds the addresses, so that it can be stopped.
  local function holder()
    local it = assert(process.start({ uv.exepath(), "-o", "spec/support/output.lua", "spec/support/pulse_holder.lua" },
      { env = { "HOLD=" .. V4 .. "," .. V6 } }))
    assert(it:wait_for(function() return it:output():find("holding", 1, true) end, 20), it:output())
    return it
  end

  -- The lone interface may have one listener here and one there: this process holds nothing.
  local function stopped(signal)
    return test(function(p, _, index, mac)
      assert(p:detach(index))
      local it = holder()
      assert.same({ mac }, (pulsing.who_has(V4)))
      assert.same({ mac }, (pulsing.who_has(V6)))
      it:kill(signal)
      assert.same({}, (pulsing.who_has(V4)))
      assert.same({}, (pulsing.who_has(V6)))
      if signal == "sigstop" then
        it:kill("sigcont")
        assert(it:wait_for(function() return it:output():find("unmute", 1, true) end, 10), it:output())
        assert.matches("mute gap.*unmute", it:output())
        assert.same({ mac }, (pulsing.who_has(V4)))
        it:kill("sigkill")
      end
      it:wait(10)
    end)
  end

  it("is silent after kill -9", stopped("sigkill"))

  it("is silent while stopped, mute when it wakes, and answers when its loop has dealt with that", stopped("sigstop"))
end)

describe("pulse, mute", function()
  it("answers nothing while the loop is silent, and again once it is back and has acknowledged",
    test(function(p, events, index, mac, alive)
      hold(p, index, V4)
      assert.same({ mac }, (pulsing.who_has(V4)))
      alive:stop()
      pulsing.until_event(events, { type = "mute", reason = "loop" })
      assert.equal("loop", p:stats().muted)
      assert.same({}, (pulsing.who_has(V4)))
      p:acknowledge()
      assert.same({}, (pulsing.who_has(V4)))	-- acknowledged, but not alive
      alive:start(0, 50, function() p:alive() end)
      pulsing.until_event(events, { type = "unmute" })
      assert.is_false(p:stats().muted)
      assert.same({ mac }, (pulsing.who_has(V4)))
    end, { silence = 0.3 }))

  it("answers nothing after a gap until the loop has acknowledged", test(function(p, events, index, mac)
    hold(p, index, V4)
    pulsing.until_event(events, { type = "mute", reason = "gap" })	-- a tick longer than the gap is one
    assert.same({}, (pulsing.who_has(V4)))
    assert.equal("gap", p:stats().muted)
    assert.is_true(p:stats().requests > 0)
    assert.equal(0, p:stats().answered)
    assert.is_string(mac)
  end, { tick = 0.2, gap = 0.1 }))
end)

describe("pulse, many addresses", function()
  local function ask(count, first)
    return pulsing.must("client", "/usr/bin/python3", "spec/support/arp_asker.py", "eth0", first,
      tostring(count), "4000")
  end

  for _, count in ipairs({ 1000, 10000 }) do
    it(("answers for each of %d IPv4 addresses, and for none that is dropped"):format(count),
      test(function(p, _, index, mac)
        for i = 0, count - 1 do assert(p:hold(("10.78.%d.%d"):format(i // 256, i % 256), index)) end
        assert(p:publish())
        assert.matches(("asked=%d answered=%d macs=%s"):format(count, count, mac), ask(count, "10.78.0.0"), 1, true)
        assert.equal(count, p:stats().answered)
        for i = 0, count - 1, 2 do assert(p:drop(("10.78.%d.%d"):format(i // 256, i % 256), index)) end
        assert(p:publish())
        assert.matches(("asked=%d answered=%d"):format(count, count // 2), ask(count, "10.78.0.0"), 1, true)
      end))
  end

  it("misses no request while the table is changed and published again and again", test(function(p, _, index, mac)
    for i = 0, 999 do assert(p:hold(("10.78.%d.%d"):format(i // 256, i % 256), index)) end
    assert(p:publish())
    local publications, turn = 0, uv.new_idle()
    turn:start(function()
      publications = publications + 1
      p[publications % 2 == 0 and "drop" or "hold"](p, "10.78.9.9", index)
      assert(p:publish())
    end)
    local output = ask(1000, "10.78.0.0")
    turn:close()
    assert.matches("asked=1000 answered=1000 macs=" .. mac, output, 1, true)
    assert.is_true(publications > 100)
  end))

  it("joins the groups of 3,000 IPv6 addresses over as many sockets as it takes, and leaves them",
    test(function(p, _, index, mac)
      local function groups()
        local _, n = pulsing.must(nil, "ip", "-6", "maddress", "show", "dev", "eth0"):gsub("ff02::1:ff01", "")
        return n
      end
      for i = 1, 3000 do assert(p:hold(("fd77::1:%x"):format(i), index)) end
      assert(p:publish())
      assert.equal(3000, p:stats().addresses)
      for _, i in ipairs({ 1, 1500, 3000 }) do
        assert.same({ mac }, (pulsing.who_has(("fd77::1:%x"):format(i))))
      end
      assert.equal(3000, groups())
      for i = 1, 3000 do assert(p:drop(("fd77::1:%x"):format(i), index)) end
      assert.equal(0, groups())
    end))

  it("reads no more than frames_per_second from a flooded interface, and answers on", test(function(p, _, index)
    hold(p, index, V4)
    pulsing.must("client", "/usr/bin/python3", "spec/support/arp_asker.py", "eth0", "10.78.0.0", "5000", "1000000")
    loop.until_true(function() return p:stats().throttled > 2 end, 10, "throttling")
    loop.until_true(function() return #pulsing.who_has(V4) == 1 end, 20, "an answer after the flood")
  end, { frames_per_second = 500 }))
end)
