local played = require("spec.support.wire")
local wire = require("moonlb.announcer.wire")

-- A pulse, a host and senders that write down what they are told.
local function parts(log, refused)
  local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
  local pulse = {}
  function pulse.publish()
    note("publish")
    if refused.publish then return nil, "table: Cannot allocate memory", "ENOMEM" end
    return true
  end
  for _, name in ipairs({ "detach", "set_mac", "hold", "drop", "probe_for", "probe_done" }) do
    pulse[name] = function(_, ...) note(name, ...) return true end
  end
  function pulse.attach(_, ...)
    if refused.attach then return nil, "socket: Operation not permitted", "EPERM" end
    note("attach", ...)
    return true
  end
  local host = { view = { links = { [2] = { index = 2, name = "eth0", mac = "m2" } } } }
  function host.has_mac(_, mac) return mac == "m2" end
  function host.silence_kernel() return true end
  function host.accept(_, ip)
    if refused.accept then return nil, "no", "EPERM" end
    note("accept", ip)
    return true
  end
  function host.refuse(_, ip) note("refuse", ip) end
  local function sender(name)
    return { announce = function(index, mac, list) note(name, index, mac, #list == 1 and list[1] or #list) end,
      probe = function(index, mac, ip) note(name .. "-probe", index, mac, ip) return true end }
  end
  return host, pulse, sender("arp"), sender("ndp")
end

describe("announcer.wire", function()
  local log, clock, io, refused
  before_each(function()
    log, refused, clock = {}, {}, played.new()
    local host, pulse, arp, ndp = parts(log, refused)
    io = wire.new({ host = host, pulse = pulse, arp = arp, ndp = ndp, now = clock.now, random = clock.random,
      after = clock.after, timer = clock.after })
  end)

  local function said()
    local text = table.concat(log, ", ")
    for i = #log, 1, -1 do log[i] = nil end
    return text
  end

  it("accepts, then answers, then says so; nothing before its turn", function()
    io.take("10.0.0.9", 2, function(ok) log[#log + 1] = "done " .. tostring(ok) end)
    assert.equal("", said())
    clock:advance(0)
    assert.equal("attach 2 m2, accept 10.0.0.9, hold 10.0.0.9 2, publish, done true", said())
  end)

  it("tries a table again that the pulse could not take", function()
    refused.publish = true
    io.take("10.0.0.9", 2, function() end)
    clock:advance(0)
    said()
    refused.publish = nil
    clock:advance(0.9)
    assert.equal("", said())
    clock:advance(0.2)
    assert.equal("publish", said())
    clock:advance(5)
    assert.equal("", said())
  end)

  it("is silent before it stops accepting", function()
    io.take("10.0.0.9", 2, function() end)
    clock:advance(0)
    said()
    io.drop("10.0.0.9")
    io.silence("10.0.0.9", 2)
    clock:advance(0)
    assert.equal("drop 10.0.0.9 2, publish, refuse 10.0.0.9", said())
  end)

  it("keeps an address that is dropped and taken in one turn", function()
    io.take("10.0.0.9", 2, function() end)
    clock:advance(0)
    io.silence("10.0.0.9", 2)
    io.drop("10.0.0.9")
    io.take("10.0.0.9", 2, function() end)
    said()
    clock:advance(0)
    assert.equal("accept 10.0.0.9, hold 10.0.0.9 2, publish", said())
  end)

  it("forgets a take that is taken back in its turn", function()
    io.take("10.0.0.9", 2, function() error("done") end)
    io.silence("10.0.0.9", 2)
    clock:advance(0)
    assert.equal("", said())
  end)

  it("takes 500 a turn, publishes once a turn, and announces 100 each 10 ms", function()
    local done = 0
    for i = 1, 1000 do
      local ip = ("10.0.%d.%d"):format(i // 250, i % 250 + 1)
      io.take(ip, 2, function()
        done = done + 1
        io.announce(ip, 2)
      end)
    end
    clock:advance(0.001)
    assert.equal(1000, done)
    clock:advance(0.2)
    local counts = {}
    for _, line in ipairs(log) do
      local word = line:match("^%S+")
      counts[word] = (counts[word] or 0) + (tonumber(line:match("arp 2 m2 (%d+)$")) or 1)
    end
    assert.same({ 1000, 1000, 2, 1000 }, { counts.accept, counts.hold, counts.publish, counts.arp })
  end)

  it("sends one announcement for many requests of a turn, by family", function()
    io.take("10.0.0.9", 2, function() end)
    io.take("fd00::9", 2, function() end)
    clock:advance(0)
    said()
    for _ = 1, 3 do io.announce("10.0.0.9", 2) end
    io.announce("fd00::9", 2)
    clock:advance(0)
    local text = said()
    assert.matches("arp 2 m2 10.0.0.9", text, 1, true)
    assert.matches("ndp 2 m2 fd00::9", text, 1, true)
    assert.equal(2, select(2, text:gsub("2 m2", "")))
  end)

  it("announces first what was never announced", function()
    for i = 1, 150 do io.announce("10.0.0." .. i, 2) end
    io.attached[2] = "m2"
    io.announce("10.0.1.1", 2, true)
    clock:advance(0)
    clock:advance(0.01)
    io.announce("10.0.1.2", 2, true)
    clock:advance(0.02)
    assert.equal("arp 2 m2 100, arp 2 m2 51, arp 2 m2 10.0.1.2", said())
    assert.is_nil(next(io.announcements))
  end)

  it("announces nothing for what was silenced since", function()
    io.take("10.0.0.9", 2, function() end)
    clock:advance(0)
    io.announce("10.0.0.9", 2)
    io.silence("10.0.0.9", 2)
    said()
    clock:advance(0)
    assert.equal("publish", said())
  end)

  it("watches before it probes", function()
    io.watch("10.0.0.9", 2, true)
    io.probe("10.0.0.9", 2)
    assert.equal("attach 2 m2, probe_for 10.0.0.9 2, publish, arp-probe 2 m2 10.0.0.9", said())
  end)

  it("names the capability that a raw socket needs", function()
    refused.attach = true
    local message
    io.take("10.0.0.9", 2, function(_, text) message = text end)
    clock:advance(0)
    assert.equal("socket: Operation not permitted: moonlb needs the capability CAP_NET_RAW", message)
    assert.is_nil((io.watch("10.0.0.9", 2, true)))
  end)

  it("does not answer for what the node does not accept", function()
    refused.accept = true
    io.take("10.0.0.9", 2, function() end)
    clock:advance(0)
    assert.not_matches("hold", said())
  end)

  it("gives the pulse a new MAC, and forgets an interface that is gone", function()
    io.take("10.0.0.9", 2, function() end)
    clock:advance(0)
    said()
    io.host.view.links[2].mac = "m3"
    io:links_changed()
    io.host.view.links[2] = nil
    io:links_changed()
    assert.equal("set_mac 2 m3, detach 2", said())
  end)

  it("closes silent, with every address off", function()
    io.take("10.0.0.9", 2, function() end)
    clock:advance(0)
    said()
    io.silence("10.0.0.9", 2)
    io.drop("10.0.0.9")
    io:close()
    io:close()
    assert.equal("drop 10.0.0.9 2, publish, refuse 10.0.0.9, detach 2", said())
    clock:advance(1)
    assert.equal("", said())
  end)
end)
