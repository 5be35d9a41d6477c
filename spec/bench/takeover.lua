-- 1,000 VIPs that another node held become this node's in one moment: how long until the neighbours have heard of each
-- (bar: 200 ms). From the moment that the rules of ownership tell the announcer until tcpdump at a neighbour has seen
-- the first gratuitous frame of the last address; IPv4, then IPv6.
--
--     spec/lab/enter build/moonlb-spec --script spec/bench/takeover.lua [RUNS] [COUNT]
local async = require("moonlb.async")
local announcing = require("spec.support.announcing")
local clusters = require("spec.support.cluster")
local loop = require("spec.support.loop")
local runtime = require("moonlb.core.runtime")
require("moonlb.core.log").configure({ level = "error" })
collectgarbage("incremental", 125, 200) -- as the daemon has it

local RUNS, COUNT = tonumber((...)) or 5, tonumber((select(2, ...))) or 1000

local FAMILIES = {
  { name = "IPv4", address = function(i) return ("10.77.%d.%d"):format(1 + i // 250, i % 250 + 1) end,
    filter = "arp", display = "arp.isgratuitous == 1", field = "arp.src.proto_ipv4" },
  { name = "IPv6", address = function(i) return ("fd77::1:%x"):format(i) end,
    filter = "icmp6", display = "icmpv6.type == 136", field = "icmpv6.nd.na.target_address" },
}

local function service(i, ip)
  return { metadata = { namespace = "demo", name = "s" .. i, uid = ("00000000-0000-0000-0000-%012d"):format(i),
    creationTimestamp = "2026-01-01T00:00:00Z",
    annotations = { ["kube-vip.io/loadbalancerIPs"] = ip, ["moonlb.io/claim"] = "2 node9",
      ["moonlb.io/assigned"] = ip .. " default/global_pool" } },
    spec = { type = "LoadBalancer", ports = { { port = 80, protocol = "TCP" } } },
    status = { loadBalancer = { ingress = { { ip = ip } } } } }
end

-- Seconds from `started` until each address was seen for the first time: all of them, sorted.
local function first_seen(capture, family, started)
  local times, count = {}, 0
  loop.until_true(function()
    times, count = {}, 0
    for _, line in ipairs(capture:read(family.display, "frame.time_epoch", family.field)) do
      local at, ip = line:match("^(%S+) (%S+)$")
      if not times[ip] then
        times[ip], count = tonumber(at) - started, count + 1
      end
    end
    return count == COUNT
  end, 30, COUNT .. " addresses announced")
  local list = {}
  for _, at in pairs(times) do list[#list + 1] = at end
  table.sort(list)
  return list
end

local function run(lan, family)
  local cluster = clusters.new()
  local node = announcing.start(cluster, { heartbeat = false })
  -- Another node's, until it falls silent: then the rules tell of all groups in one tick.
  node.placement.owner = function() return false, nil, "held by node node9" end
  for i = 1, COUNT do cluster:put(service(i, family.address(i))) end
  loop.until_true(function() return not next(node.unplaced) end, 20, "all known")
  local capture = lan.capture(family.filter)
  node.placement.owner = nil
  local started, cpu = runtime.walltime(), os.clock()
  local function look()
    if node.wire:is_behind() or next(node.unplaced) then return async.timer(0.002, look) end
    cpu = os.clock() - cpu
  end
  async.timer(0.002, look)
  for i = 1, COUNT do node:on_ownership("demo/s" .. i) end
  async.sleep(1) -- tshark would take the processor from what is measured
  local list = first_seen(capture, family, started)
  capture:stop()
  node:stop()
  return list, cpu
end

loop.test(function()
  local lan = announcing.lan()
  for _, family in ipairs(FAMILIES) do
    for i = 1, RUNS do
      local list, cpu = run(lan, family)
      print(("%s run %d: first heard of after %.0f ms, half after %.0f, all %d after %.0f; %.0f ms of CPU here"):format(
        family.name, i, list[1] * 1e3, list[#list // 2] * 1e3, COUNT, list[#list] * 1e3, cpu * 1e3))
    end
  end
end, 600)()
