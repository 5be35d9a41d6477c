-- Nodes on more than one LAN, and many addresses: each VIP is placed among the nodes of its own segment.
local async = require("moonlb.async")
local failover = require("spec.support.failover")
local loop = require("spec.support.loop")

local FRONT, BACK = "10.77.0.150", "10.79.0.150"

-- A second LAN with some of the nodes, as eth1.
local function second_lan(lab, names)
  local function ip(host, ...)
    local result = lab:on(host, "ip", ...)
    assert(result.code == 0, result.output)
  end
  ip("switch", "link", "add", "br1", "type", "bridge", "forward_delay", "0", "stp_state", "0", "mcast_snooping", "0")
  ip("switch", "link", "set", "br1", "up")
  for i, name in ipairs(names) do
    ip("switch", "link", "add", "q-" .. name, "type", "veth", "peer", "name", "eth1", "netns", "/run/netns/" .. name)
    ip("switch", "link", "set", "q-" .. name, "master", "br1", "up")
    ip(name, "link", "set", "eth1", "up")
    ip(name, "address", "add", ("10.79.0.%d/24"):format(i + 1), "dev", "eth1")
  end
end

local function other_than(name) return function(owner) return owner ~= name end end

describe("two segments", function()
  it("place each address among the nodes of its own, and fail over there alone", failover.test(function(lab)
    second_lan(lab, { "node1", "node2", "client" })
    local play = failover.play(lab, 3, nil, { "--services-interface", "auto" })
    lab:service("front", { loadBalancerIP = FRONT })
    lab:service("back", { loadBalancerIP = BACK })
    lab:until_address("front", FRONT)
    lab:until_address("back", BACK)
    play:settled_owner("front")
    local owner = play:settled_owner("back")
    assert.is_true(owner == "node1" or owner == "node2", owner)
    local _, front_claim = play:owner("front")

    local client = play:client(200, FRONT, BACK)
    local cut = lab:on("switch", "ip", "link", "set", "q-" .. owner, "down")
    assert.equal(0, cut.code)
    client:until_from(owner, { BACK })
    local heir = play:until_owner("back", other_than(owner))
    assert.is_true(heir == "node1" or heir == "node2", heir)
    -- The other LAN has not noticed anything.
    async.sleep(1)
    assert.equal(front_claim, select(2, play:owner("front")))
    assert.equal(0, client:stop()[FRONT].lost)

    assert.equal(0, lab:on("switch", "ip", "link", "set", "q-" .. heir, "down").code)
    async.sleep(2)
    assert.is_false(lab:on("client", "arping", "-c", "1", "-w", "1", "-I", "eth1", BACK).code == 0)
    assert.equal(front_claim, select(2, play:owner("front")))
    assert.equal(0, lab:on("switch", "ip", "link", "set", "q-" .. owner, "up").code)
    loop.until_true(function()
      return lab:on("client", "arping", "-c", "1", "-w", "1", "-I", "eth1", BACK).code == 0
    end, 15, "it is back on its own segment")
  end, { count = 3, timeout = 120 }))
end)

describe("a thousand addresses", function()
  local COUNT = 1000

  local function address(i) return ("10.78.%d.%d"):format(i // 250, i % 250 + 1) end

  -- How many each node holds, by what the API remembers.
  local function held(lab)
    local counts, total = {}, 0
    assert(lab.kube:list("/api/v1/namespaces/demo/services", {}, function(items)
      for _, object in ipairs(items) do
        local name = ((object.metadata.annotations or {})["moonlb.io/claim"] or ""):match(" (%S+)$")
        if name then
          counts[name] = (counts[name] or 0) + 1
          total = total + 1
        end
      end
    end))
    return counts, total
  end

  it("are spread over the nodes, and leave the one that is cut off", failover.test(function(lab)
    for _, host in ipairs({ "client", "node1", "node2", "node3" }) do
      lab:on(host, "ip", "route", "add", "10.78.0.0/16", "dev", "eth0")
    end
    local play = failover.play(lab, 3)
    for i = 1, COUNT do lab:service("web" .. i, { loadBalancerIP = address(i) }) end
    loop.until_true(function() return select(2, held(lab)) == COUNT end, 90, "all are claimed")
    async.sleep(2)
    local counts = held(lab)
    for _, name in ipairs({ "node1", "node2", "node3" }) do
      assert.is_true((counts[name] or 0) > COUNT / 5, name .. ": " .. (counts[name] or 0))
    end
    local sample = {}
    for i = 1, 40 do sample[i] = address(i * 25) end
    local client = play:client(800, table.unpack(sample))
    play:port("node2", "ip", "down")
    client:until_from("node2")
    client:stop()
    loop.until_true(function() return held(lab).node2 == nil end, 60, "the API says so of each")
    play:port("node2", "ip", "up")
    async.sleep(2)
    client = play:client(800, table.unpack(sample))
    async.sleep(1)
    for ip, seen in pairs(client:stop()) do
      assert.equal(0, seen.lost, ip)
      assert.are_not.equal("node2", client:from(ip))
    end
  end, { count = 3, timeout = 240 }))
end)
