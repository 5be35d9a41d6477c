local arp = require("moonlb.core.arp")
local core = require("moonlb.core.flight")
local flight = require("moonlb.control.flight")
local ndp = require("moonlb.core.ndp")
local recorder = require("moonlb.recorder")

local MAC, OTHER = "02:00:00:00:00:02", "02:00:00:00:00:04"

describe("recorder", function()
  before_each(recorder.clear)
  after_each(recorder.clear)

  it("gives what was noted, oldest first, from a number on", function()
    for i = 1, 5 do recorder.note("vip", "10.0.0." .. i, { to = "held" }) end
    local entries, next_sequence = recorder.since(0, 3)
    assert.same({ 3, 3, "10.0.0.1" }, { #entries, next_sequence, entries[1].subject })
    entries, next_sequence = recorder.since(next_sequence)
    assert.same({ 2, 5, "10.0.0.4" }, { #entries, next_sequence, entries[1].subject })
    assert.same({ {}, 5 }, { recorder.since(5) })
    assert.is_true(entries[2].at > 1e9 and entries[2].boottime > 0)
  end)

  it("keeps the last SIZE entries and no more", function()
    for i = 1, recorder.SIZE + 7 do recorder.note("vip", tostring(i), {}) end
    local entries = recorder.since(0)
    assert.same({ recorder.SIZE, "8", tostring(recorder.SIZE + 7) },
      { #entries, entries[1].subject, entries[#entries].subject })
  end)

  it("cuts long texts", function()
    recorder.note("event", "a/b", { message = ("x"):rep(5000) })
    assert.equal(recorder.LONGEST, #recorder.since(0)[1].message)
  end)

  it("finds what is about a Service or its addresses", function()
    recorder.note("event", "demo/web", {})
    recorder.note("event", "demo/other", {})
    recorder.note("vip", "10.0.0.1", {})
    local found = recorder.of("demo/web", { "10.0.0.1" }, 5)
    assert.same({ "demo/web", "10.0.0.1" }, { found[1].subject, found[2].subject })
    assert.equal("10.0.0.1", recorder.of("demo/web", { "10.0.0.1" }, 1)[1].subject)
  end)
end)

describe("flight.read", function()
  it("tells what a frame is about and what it says", function()
    local function says(fields) return table.concat({ flight.read(arp.encode(fields)) }, " | ") end
    assert.equal("10.0.0.9 | who has 10.0.0.9? asks 10.0.0.4 (" .. OTHER .. ")", says({ operation = "request",
      sender_mac = OTHER, sender_ip = "10.0.0.4", target_ip = "10.0.0.9" }))
    assert.equal("10.0.0.9 | 10.0.0.9 is at " .. MAC .. ", to 10.0.0.4", says({ operation = "reply", sender_mac = MAC,
      sender_ip = "10.0.0.9", target_mac = OTHER, target_ip = "10.0.0.4" }))
    assert.equal("10.0.0.9 | gratuitous reply: 10.0.0.9 is at " .. MAC, says({ operation = "reply", sender_mac = MAC,
      sender_ip = "10.0.0.9", target_mac = MAC, target_ip = "10.0.0.9" }))
    assert.equal("10.0.0.9 | probe: who has 10.0.0.9?", says({ operation = "request", sender_mac = MAC,
      sender_ip = "0.0.0.0", target_ip = "10.0.0.9" }))
    local frame = ndp.encode_ns({ source = OTHER, destination = "33:33:ff:00:00:09", source_ip = "fd77::4",
      destination_ip = "ff02::1:ff00:9", target = "fd77::9", link_address = OTHER })
    assert.same({ "fd77::9", "who has fd77::9? asks fd77::4 (" .. OTHER .. ")" }, { flight.read(frame) })
    assert.same({}, { flight.read("neither") })
  end)
end)

describe("pcapng", function()
  -- Blocks: type and body; each length stands before and behind.
  local function blocks(text)
    local list, at = {}, 1
    while at <= #text do
      local kind, length = ("<I4I4"):unpack(text, at)
      assert.equal(length, (("<I4"):unpack(text, at + length - 4)))
      assert.equal(0, length % 4)
      list[#list + 1] = { kind = kind, body = text:sub(at + 8, at + length - 5) }
      at = at + length
    end
    return list
  end

  it("is a section, the interfaces, and a block for each frame (draft-ietf-opsawg-pcapng, section 4)", function()
    local text = table.concat(core.pcapng({
      { at = 1767225600.25, index = 7, direction = "out", length = 300, bytes = ("a"):rep(42) },
      { at = 1767225601, index = 2, direction = "in", length = 3, bytes = "xyz" },
    }, { { index = 2, name = "eth0" }, { index = 7, name = ("n"):rep(200) } }))
    local list = blocks(text)
    assert.equal(5, #list)
    assert.equal(0x0A0D0D0A, list[1].kind)
    assert.same({ 1, 1 }, { list[2].kind, list[3].kind })
    assert.equal("eth0", (("s2"):unpack(list[2].body, 11)))
    local interface, high, low, kept, length = ("<I4I4I4I4I4"):unpack(list[4].body)
    assert.same({ 1, 1767225600250000, 42, 300 }, { interface, high << 32 | low, kept, length })
    assert.equal(("a"):rep(42) .. "\0\0", list[4].body:sub(21, 64))
    assert.equal(2, (("<I4"):unpack(list[4].body, 69)))
    assert.equal(1, (("<I4"):unpack(list[5].body, 29)))
  end)

  it("raises for frames without an interface, and for what is no frame", function()
    assert.has_error(function() core.pcapng({ { at = 1, index = 3, length = 1, bytes = "x" } }, {}) end,
      "interface 3 of a frame is not among the interfaces")
    assert.has_error(function() core.pcapng({ { index = 3 } }, {}) end)
    assert.has_error(function() core.pcapng({ 5 }, {}) end)
    assert.has_error(function() core.pcapng({ { at = 0 / 0, index = 1, length = 1, bytes = "" } }, {}) end)
  end)
end)
