-- Every frame that leaves, decoded field by field by tshark at the client.
local arp = require("moonlb.core.arp")
local loop = require("spec.support.loop")
local ndp = require("moonlb.core.ndp")
local process = require("moonlb.sandbox.process")
local pulsing = require("spec.support.pulsing")
require("moonlb.core.log").configure({ level = "error" })

local V4, V6 = pulsing.V4, pulsing.V6
local BROADCAST, ZERO, ALL_NODES = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "33:33:00:00:00:01"
local test = pulsing.test

local ARP_FIELDS = { "eth.dst", "eth.src", "eth.type", "arp.hw.type", "arp.proto.type", "arp.hw.size", "arp.proto.size",
  "arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.hw_mac", "arp.dst.proto_ipv4" }
local ND_FIELDS = { "eth.dst", "eth.src", "eth.type", "ipv6.version", "ipv6.plen", "ipv6.nxt", "ipv6.hlim", "ipv6.src",
  "ipv6.dst", "icmpv6.type", "icmpv6.code", "icmpv6.checksum.status", "icmpv6.nd.na.flag.r", "icmpv6.nd.na.flag.s",
  "icmpv6.nd.na.flag.o", "icmpv6.nd.na.target_address", "icmpv6.nd.ns.target_address", "icmpv6.opt.type",
  "icmpv6.opt.length", "icmpv6.opt.linkaddr" }

-- Run `act` while the client captures what `mac` sends; the frames that tshark's `filter` picks, as tables of fields.
local function frames(mac, filter, fields, count, act)
  local path = os.tmpname()
  local dump = assert(process.start({ "ip", "netns", "exec", "client", "tcpdump", "-U", "-n", "-i", "eth0", "-w", path,
    "ether src " .. mac }))
  assert(dump:wait_for(function() return dump:output():find("listening on") end, 10), dump:output())
  act()
  local argv = { "tshark", "-r", path, "-Y", filter, "-T", "fields", "-E", "separator=|" }
  for _, field in ipairs(fields) do
    argv[#argv + 1] = "-e"
    argv[#argv + 1] = field
  end
  local found = {}
  for _ = 1, 20 do	-- tcpdump writes a little later than the wire
    found = {}
    local output = pulsing.must(nil, table.unpack(argv))
    for line in output:gmatch("[^\n]+") do
      if line:find("|", 1, true) then	-- not tshark's warning about running as root
        local frame, i = {}, 0
        for value in (line .. "|"):gmatch("([^|]*)|") do
          i = i + 1
          if value ~= "" then frame[fields[i]] = value end
        end
        found[#found + 1] = frame
      end
    end
    if #found >= count then break end
  end
  dump:kill("sigterm")
  dump:wait(5)
  os.remove(path)
  assert.equal(count, #found)
  return found
end

local function arp_frame(fields)
  local frame = { ["eth.type"] = "0x0806", ["arp.hw.type"] = "1", ["arp.proto.type"] = "0x0800", ["arp.hw.size"] = "6",
    ["arp.proto.size"] = "4" }
  for name, value in pairs(fields) do frame[name] = value end
  return frame
end

local function nd_frame(fields)
  local frame = { ["eth.type"] = "0x86dd", ["ipv6.version"] = "6", ["ipv6.nxt"] = "58", ["ipv6.hlim"] = "255",
    ["icmpv6.code"] = "0", ["icmpv6.checksum.status"] = "1" }
  for name, value in pairs(fields) do frame[name] = value end
  return frame
end

local function advertisement(mac, fields)
  local frame = nd_frame({ ["eth.src"] = mac, ["ipv6.plen"] = "32", ["ipv6.src"] = V6, ["icmpv6.type"] = "136",
    ["icmpv6.nd.na.flag.r"] = "0", ["icmpv6.nd.na.flag.o"] = "1", ["icmpv6.nd.na.target_address"] = V6,
    ["icmpv6.opt.type"] = "2", ["icmpv6.opt.length"] = "1", ["icmpv6.opt.linkaddr"] = mac })
  for name, value in pairs(fields) do frame[name] = value end
  return frame
end

describe("the frames of ARP", function()
  it("reply to a request by unicast, fields swapped (RFC 826)", test(function(p, _, index, mac)
    assert(p:hold(V4, index))
    assert(p:publish())
    local client = pulsing.mac("client")
    local found = frames(mac, "arp.opcode == 2", ARP_FIELDS, 1, function()
      pulsing.must("client", "arping", "-c", "1", "-w", "1", "-I", "eth0", V4)
    end)
    assert.same(arp_frame({ ["eth.dst"] = client, ["eth.src"] = mac, ["arp.opcode"] = "2", ["arp.src.hw_mac"] = mac,
      ["arp.src.proto_ipv4"] = V4, ["arp.dst.hw_mac"] = client, ["arp.dst.proto_ipv4"] = pulsing.CLIENT_V4 }), found[1])
  end))

  it("announce by request (RFC 5227 section 2.3) and by reply (RFC 5944 section 4.6)", test(function(_, _, index, mac)
    local found = frames(mac, "arp", ARP_FIELDS, 4, function()
      assert.equal(2, arp.announce(index, mac, { V4, "10.77.0.101" }))
    end)
    local request = { ["eth.dst"] = BROADCAST, ["eth.src"] = mac, ["arp.opcode"] = "1", ["arp.src.hw_mac"] = mac,
      ["arp.src.proto_ipv4"] = V4, ["arp.dst.hw_mac"] = ZERO, ["arp.dst.proto_ipv4"] = V4 }
    assert.same(arp_frame(request), found[1])
    request["arp.opcode"], request["arp.dst.hw_mac"] = "2", mac
    assert.same(arp_frame(request), found[2])
    assert.equal("10.77.0.101", found[3]["arp.src.proto_ipv4"])
    assert.equal("10.77.0.101", found[4]["arp.dst.proto_ipv4"])
  end))

  it("probe with sender 0.0.0.0 and target MAC zero (RFC 5227 section 2.1.1)", test(function(_, _, index, mac)
    local found = frames(mac, "arp", ARP_FIELDS, 1, function() assert.is_true(arp.probe(index, mac, V4)) end)
    assert.same(arp_frame({ ["eth.dst"] = BROADCAST, ["eth.src"] = mac, ["arp.opcode"] = "1", ["arp.src.hw_mac"] = mac,
      ["arp.src.proto_ipv4"] = "0.0.0.0", ["arp.dst.hw_mac"] = ZERO, ["arp.dst.proto_ipv4"] = V4 }), found[1])
  end))

  it("announce a thousand addresses, none left out", test(function(_, _, index, mac)
    local addresses = {}
    for i = 0, 999 do addresses[i + 1] = ("10.79.%d.%d"):format(i // 256, i % 256) end
    local found = frames(mac, "arp", ARP_FIELDS, 2000, function()
      assert.equal(1000, arp.announce(index, mac, addresses, 1))
    end)
    local seen = {}
    for _, frame in ipairs(found) do
      local ip = frame["arp.src.proto_ipv4"]
      seen[ip] = (seen[ip] or "") .. frame["arp.opcode"]
    end
    for _, ip in ipairs(addresses) do assert.equal("12", seen[ip], ip) end
  end))

  it("say why they cannot leave", test(function(_, _, _, mac)
    local sent, message, code = arp.announce(99999, mac, { V4 })
    assert.is_nil(sent)
    assert.matches("arp.announce on interface 99999", message, 1, true)
    assert.equal("ENXIO", code)
    assert.equal(0, arp.announce(99999, mac, {}))
  end))
end)

describe("the frames of neighbour discovery", function()
  it("answer a solicitation by unicast: solicited, override, target link-layer address (RFC 4861 section 7.2.4)",
    test(function(p, _, index, mac)
      assert(p:hold(V6, index))
      assert(p:publish())
      local found = frames(mac, "icmpv6.type == 136", ND_FIELDS, 1, function()
        pulsing.must("client", "ndisc6", "-1", "-w", "1000", "-s", pulsing.CLIENT_V6, V6, "eth0")
      end)
      assert.same(advertisement(mac, { ["eth.dst"] = pulsing.mac("client"), ["ipv6.dst"] = pulsing.CLIENT_V6,
        ["icmpv6.nd.na.flag.s"] = "1" }), found[1])
    end))

  it("answer duplicate address detection to all nodes, not solicited (RFC 4861 section 7.2.4)",
    test(function(p, _, index, mac)
      assert(p:hold(V6, index))
      assert(p:publish())
      local found = frames(mac, "icmpv6.type == 136", ND_FIELDS, 1, function()
        pulsing.scapy("stranger", ("Ether(src='02:00:00:00:bb:01', dst='33:33:ff:00:01:00')"
          .. "/IPv6(src='::', dst='ff02::1:ff00:100', hlim=255)/ICMPv6ND_NS(tgt='%s')"):format(V6))
      end)
      assert.same(advertisement(mac, { ["eth.dst"] = ALL_NODES, ["ipv6.dst"] = "ff02::1",
        ["icmpv6.nd.na.flag.s"] = "0" }), found[1])
    end))

  it("announce to all nodes with Override (RFC 4861 section 7.2.6)", test(function(_, _, index, mac)
    local found = frames(mac, "icmpv6.type == 136", ND_FIELDS, 1, function()
      assert.equal(1, ndp.announce(index, mac, { V6 }))
    end)
    assert.same(advertisement(mac, { ["eth.dst"] = ALL_NODES, ["ipv6.dst"] = "ff02::1",
      ["icmpv6.nd.na.flag.s"] = "0" }), found[1])
  end))

  it("probe from the unspecified address, to the solicited-node group, without option (RFC 4862 section 5.4.2)",
    test(function(_, _, index, mac)
      -- The client joins the group, or the switch would not let it see the frame.
      pulsing.must("client", "ip", "address", "add", "fd77:1::100/64", "dev", "eth0", "nodad")
      local found = frames(mac, "icmpv6.type == 135 && ipv6.src == ::", ND_FIELDS, 1, function()
        assert.is_true(ndp.probe(index, mac, V6))
      end)
      assert.same(nd_frame({ ["eth.dst"] = "33:33:ff:00:01:00", ["eth.src"] = mac, ["ipv6.plen"] = "24",
        ["ipv6.src"] = "::", ["ipv6.dst"] = "ff02::1:ff00:100", ["icmpv6.type"] = "135",
        ["icmpv6.nd.ns.target_address"] = V6 }), found[1])
      pulsing.must("client", "ip", "address", "delete", "fd77:1::100/64", "dev", "eth0")
    end))

  it("update a second kernel's entry for the address, so that its traffic comes here (RFC 4861 section 7.2.5)",
    test(function(_, _, index, mac)
      for _, ip in ipairs({ V6, V4 }) do
        pulsing.must("client", "ip", "neigh", "replace", ip, "lladdr", "02:00:00:00:cc:01", "nud", "stale",
          "dev", "eth0")
      end
      assert.equal(1, ndp.announce(index, mac, { V6 }))
      assert.equal(1, arp.announce(index, mac, { V4 }))
      for _, ip in ipairs({ V6, V4 }) do
        loop.until_true(function()
          return pulsing.must("client", "ip", "neigh", "show", ip, "dev", "eth0"):find(mac, 1, true)
        end, 5, "the client's entry for " .. ip)
      end
    end))
end)
