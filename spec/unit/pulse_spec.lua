--- The pulse thread without a network: its life, its arguments, the loop's silence.
local loop = require("spec.support.loop")
local pulse = require("moonlb.core.pulse")

local MAC = "02:00:00:00:00:0a"

local function ignore() end

-- A started pulse, closed after the test whatever happens.
local function test(body, options)
  return loop.test(function()
    local events = {}
    local settings = { on_event = function(event) events[#events + 1] = event end }
    for name, value in pairs(options or {}) do settings[name] = value end
    local p <close> = assert(pulse.start(settings))
    body(p, events)
  end)
end

describe("pulse.start", function()
  it("starts one thread a process, and another after it is closed", function()
    local first = assert(pulse.start({ on_event = ignore }))
    local second, message, code = pulse.start({ on_event = ignore })
    assert.is_nil(second)
    assert.matches("starting the pulse thread", message)
    assert.equal("EBUSY", code)
    first:close()
    second = assert(pulse.start({ on_event = ignore }))
    second:close()
  end)

  it("raises for what is no option", function()
    assert.error_matches(function() pulse.start({}) end, "on_event: function expected")
    local function refuses(name, value, message)
      assert.error_matches(function() pulse.start({ on_event = ignore, [name] = value }) end, message)
    end
    refuses("tick", 0, "tick: seconds from 0.001 to 3600 expected")
    refuses("gap", 0 / 0, "gap: seconds")
    refuses("silence", 1e6, "silence: seconds")
    refuses("frames_per_second", 0, "frames_per_second: integer from 1")
  end)

  it("runs the thread in real time where that is allowed, and says whether it was", function()
    local function policy_of_thread()	-- proc(5), field 41 of stat: 0 is ordinary, 2 is SCHED_RR
      local pipe = io.popen("cat /proc/$PPID/task/*/stat")
      local fields = pipe:read("a"):match("%(pulse%) ([^\n]*)")
      pipe:close()
      return fields:match("^" .. ("%S+ "):rep(38) .. "(%d+)")
    end
    for _, priority in ipairs({ 0, 1 }) do
      local p <close> = assert(pulse.start({ on_event = ignore, priority = priority }))
      if priority == 0 then assert.is_false(p:stats().is_realtime) end
      assert.equal(p:stats().is_realtime and "2" or "0", policy_of_thread())
    end
  end)

  it("is closed by the collector only when it was closed before: a running thread is pinned", function()
    assert(pulse.start({ on_event = ignore }))
    collectgarbage()
    local second, _, code = pulse.start({ on_event = ignore })
    assert.is_nil(second)
    assert.equal("EBUSY", code)
    for _, value in pairs(debug.getregistry()) do
      if type(value) == "userdata" and tostring(value):find("^moonlb.core.pulse") then value:close() break end
    end
  end)
end)

describe("pulse:close", function()
  it("may be called twice; any other method raises after it", function()
    local p = assert(pulse.start({ on_event = ignore }))
    p:close()
    p:close()
    assert.error_matches(function() p:alive() end, "pulse is closed")
    assert.error_matches(function() p:hold("10.0.0.1", 1) end, "pulse is closed")
  end)

  it("may be called from on_event", loop.test(function()
    local p, is_closed
    p = assert(pulse.start({ silence = 0.05, tick = 0.01, on_event = function()
      p:close()
      is_closed = true
    end }))
    loop.until_true(function() return is_closed end, 5, "the end")
    assert.error_matches(function() p:stats() end, "pulse is closed")
  end))
end)

describe("pulse:hold", function()
  it("counts an address and interface once, however often it is held", test(function(p)
    for _ = 1, 3 do assert.is_true(p:hold("10.0.0.1", 7)) end
    assert.is_true(p:hold("10.0.0.1", 8))
    assert.is_true(p:hold("fd00::1", 7))
    assert.is_true(p:hold("FD00:0::1", 7))
    assert.equal(3, p:stats().addresses)
    assert.is_true(p:drop("10.0.0.1", 7))
    assert.equal(2, p:stats().addresses)
    assert.is_true(p:drop("10.0.0.1", 7))
    assert.equal(2, p:stats().addresses)
  end))

  it("and probe_for are uses apart: the address stays until neither is left", test(function(p)
    p:probe_for("10.0.0.1", 7)
    p:hold("10.0.0.1", 7)
    p:probe_done("10.0.0.1", 7)
    assert.equal(1, p:stats().addresses)
    p:drop("10.0.0.1", 7)
    assert.equal(0, p:stats().addresses)
  end))

  it("keeps the table in order, whatever the order of holding and dropping", test(function(p)
    local state = 1
    local function random(n)
      state = (state * 1103515245 + 12345) % 2147483648
      return state // 65536 % n
    end
    local held, count = {}, 0
    for _ = 1, 5000 do
      local address = ("10.0.%d.%d"):format(random(4), random(256))
      if held[address] then p:drop(address, 3) else p:hold(address, 3) end
      count = count + (held[address] and -1 or 1)
      held[address] = not held[address]
      if random(50) == 0 then assert.is_true(p:publish()) end
      assert.equal(count, p:stats().addresses)
    end
  end))

  it("raises for what is no address or interface", test(function(p)
    assert.error_matches(function() p:hold("10.0.0", 1) end, "IPv4 or IPv6 address expected")
    assert.error_matches(function() p:hold("::ffff:10.0.0.1", 1) end, "IPv4 or IPv6 address expected")
    assert.error_matches(function() p:hold("fe80::1%eth0", 1) end, "IPv4 or IPv6 address expected")
    assert.error_matches(function() p:hold("10.0.0.1", 0) end, "interface index expected")
    assert.error_matches(function() p:set_own_macs({ "02:00:00:00:00" }) end, "MAC aa:bb:cc:dd:ee:ff expected")
    assert.error_matches(function() p:attach(1, "02:00:00:00:00:0a:0b") end, "MAC aa:bb:cc:dd:ee:ff expected")
  end))
end)

describe("pulse:attach", function()
  it("names the interface that is not there", test(function(p)
    local ok, message, code = p:attach(2147483647, MAC)
    assert.is_nil(ok)
    assert.matches("on interface 2147483647", message)
    assert.is_true(code == "ENODEV" or code == "EPERM", code)
    assert.equal(0, p:stats().interfaces)
    assert.is_true(p:detach(2147483647))
  end))
end)

describe("pulse, mute", function()
  it("tells when the loop is silent, and that it answers again once alive and acknowledged", test(function(p, events)
    loop.until_true(function() return #events > 0 end, 5, "mute")
    assert.same({ type = "mute", reason = "loop" }, events[1])
    assert.equal("loop", p:stats().muted)
    p:acknowledge()
    loop.until_true(function()
      p:alive()
      return #events > 1
    end, 5, "unmute")
    assert.same({ type = "unmute" }, events[2])
  end, { silence = 0.1, tick = 0.02 }))

  it("tells when it was not run", test(function(p, events)
    loop.until_true(function() return #events > 0 end, 5, "mute")
    assert.same({ type = "mute", reason = "gap" }, events[1])
    assert.equal("gap", p:stats().muted)
  end, { gap = 0.01, tick = 0.1 }))
end)
