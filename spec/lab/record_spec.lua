-- The flight recorder's frames on a LAN: what was asked, answered and announced, as tshark and capinfos read the file.
local arp = require("moonlb.core.arp")
local flight = require("moonlb.control.flight")
local loop = require("spec.support.loop")
local ndp = require("moonlb.core.ndp")
local process = require("moonlb.sandbox.process")
local pulsing = require("spec.support.pulsing")
local temporary = require("spec.support.temporary")
require("moonlb.core.log").configure({ level = "error" })

local V4, V6 = pulsing.V4, pulsing.V6

local function hold(p, index)
  assert(p:hold(V4, index))
  assert(p:hold(V6, index))
  assert(p:publish())
end

local function announcer(p, index)
  return { pulse = p, host = { view = { links = { [index] = { name = "eth0" } } } } }
end

-- All pages, as `record dump` asks for them.
local function all_frames(p, index)
  local all = {}
  repeat
    local page = flight.frames(announcer(p, index), #all)
    table.move(page.frames, 1, #page.frames, #all + 1, all)
  until #all == page.total
  return all
end

local function output_of(...)
  local result = assert(process.run({ ... }))
  assert.equal(0, result.code, result.output)
  return result.output
end

describe("the frames of the flight recorder", function()
  it("are what was asked and answered, and what was announced", pulsing.test(function(p, _, index, mac)
    hold(p, index)
    assert.same({ mac }, (pulsing.who_has(V4)))
    assert.same({ mac }, (pulsing.who_has(V6)))
    assert(arp.announce(index, mac, { V4 }))
    assert(ndp.probe(index, mac, V6))
    local seen = {}
    for _, it in ipairs(all_frames(p, index)) do
      assert.equal("eth0", it.interface)
      seen[it.direction .. " " .. it.says:gsub("asks .*", "asks"):gsub("to .*", "to")] = true
    end
    for _, wanted in ipairs({ "in who has 10.77.0.100? asks", "out 10.77.0.100 is at " .. mac .. ", to",
      "in who has fd77::100? asks", "out fd77::100 is at " .. mac .. ", to",
      "out gratuitous request: 10.77.0.100 is at " .. mac, "out gratuitous reply: 10.77.0.100 is at " .. mac,
      "out who has fd77::100? asks" }) do
      assert.is_true(seen[wanted], wanted)
    end
    local last = flight.last_of(announcer(p, index), { V4 })
    assert.matches("gratuitous reply", last[#last].says)
  end))

  it("go into a file that Wireshark's programs open", pulsing.test(function(p, _, index, mac)
    hold(p, index)
    assert.same({ mac }, (pulsing.who_has(V4)))
    local path = temporary.folder("moonlb-record") .. "/frames.pcapng"
    local frames = all_frames(p, index)
    local file = assert(io.open(path, "wb"))
    file:write(flight.capture(frames))
    file:close()
    local text = output_of("capinfos", path)
    assert.matches("File type: +Wireshark/%.%.%. %- pcapng", text)
    assert.matches("Number of packets: +" .. #frames .. "\n", text)
    assert.matches("Name = eth0", text)
    text = output_of("tshark", "-r", path, "-Y", "arp.opcode == 2 && arp.src.proto_ipv4 == " .. V4, "-T", "fields",
      "-E", "separator=|", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "arp.src.hw_mac",
      "-e", "_ws.malformed")
    assert.is_truthy(text:find("eth0|0x00000002|" .. mac .. "|\n", 1, true), text)
    text = output_of("tshark", "-r", path, "-Y", "_ws.malformed", "-T", "fields", "-e", "frame.number")
    assert.is_nil(text:match("\n%d+\n"))
  end))

  it("are never half of one and half of another, also while they come", pulsing.test(function(p, _, index, mac)
    hold(p, index)
    local flood = assert(process.start({ "ip", "netns", "exec", "client", "/usr/bin/python3", "-c", (
      "from scapy.all import *\nfor i in range(20): sendp([Ether(dst='ff:ff:ff:ff:ff:ff')/ARP(op=1,psrc='10.77.0.%%d'"
      .. " %% (9+j%%200),pdst='%s') for j in range(400)],iface='eth0',verbose=0)"):format(V4) }))
    local reads, before = 0, 0
    loop.until_true(function()
      local frames = p:frames()
      reads = reads + (#frames > before and 1 or 0)
      before = #frames
      for _, it in ipairs(frames) do
        local fields = assert(arp.decode(it.bytes))
        if it.direction == "out" then
          assert.same({ mac, V4, 42 }, { fields.sender_mac, fields.sender_ip, it.length })
        else
          assert.equal(V4, fields.target_ip)
        end
      end
      return not flood:is_running()
    end, 60, "the flood is over")
    assert.is_true(reads > 1 and before > 2000, before .. " frames in " .. reads)
  end))

  it("are the last 2,048 of each ring, whatever comes", pulsing.test(function(p, _, index, mac)
    hold(p, index)
    for _ = 1, 3 do
      local many = {}
      for i = 1, 500 do many[i] = ("10.78.%d.%d"):format(i // 250, i % 250 + 1) end
      assert(arp.announce(index, mac, many, 2))
    end
    local sent = require("moonlb.core.flight").sent()
    assert.equal(2048, #sent)
    assert.equal("10.78.2.1", (flight.read(sent[#sent].bytes)))
    assert.is_true(#all_frames(p, index) >= 2048)
    for i = 2, #sent do assert.is_true(sent[i].at >= sent[i - 1].at) end
  end))
end)
