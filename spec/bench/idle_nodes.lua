--- What a node costs at rest that holds 1,000 VIPs among other nodes: CPU time of its process, all threads, over some
-- seconds, and of one of its peers. Bar of DESIGN.md section 8: 0.5 % of a core with 10 peers (with 100: `placing`,
-- `heartbeat`).
--
--     MOONLB=build/moonlb spec/lab/enter build/moonlb-spec --script spec/bench/idle_nodes.lua [SECONDS] [PEERS] [VIPS]
local async = require("moonlb.async")
local failover = require("spec.support.failover")
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")
local runtime = require("moonlb.core.runtime")

local SECONDS, PEERS, VIPS = tonumber((...)) or 20, tonumber((select(2, ...))) or 10, tonumber((select(3, ...))) or 1000

-- Clock ticks (of 10 ms) that `moonlb run` on the node has used: utime and stime of proc(5).
local function ticks(it, name)
  local result = it:on("switch", "sh", "-c", ("for p in $(ip netns pids %s); do "
    .. "tr '\\0' ' ' </proc/$p/cmdline | grep -q ' run ' && cut -d' ' -f14,15 /proc/$p/stat; done; true"):format(name))
  local user, system = result.output:match("(%d+) (%d+)")
  return assert(tonumber(user), result.output) + tonumber(system)
end

local function measure(it)
  for i = 0, PEERS do it:on("node" .. i + 1, "ip", "route", "add", "10.78.0.0/16", "dev", "eth0") end
  local names = {}
  for i = 1, PEERS + 1 do names[i] = "node" .. i end
  local play = failover.play(it, PEERS + 1, names)
  for i = 2, PEERS + 1 do play:annotate_node("node" .. i, "moonlb.io/drain", "true") end
  async.sleep(3)
  for i = 1, VIPS do
    it:service("web" .. i, { loadBalancerIP = ("10.78.%d.%d"):format(i // 250, i % 250 + 1) })
  end
  for i = VIPS, 1, -100 do it:until_address("web" .. i) end
  for i = 2, PEERS + 1 do play:annotate_node("node" .. i, "moonlb.io/drain", "false") end
  async.sleep(10)
  local began, first, other = runtime.boottime(), ticks(it, "node1"), ticks(it, "node2")
  async.sleep(SECONDS)
  local took = runtime.boottime() - began
  print(("%d peers, %d VIPs on node1: %.2f %% of a core; a peer that holds none: %.2f %% (over %.0f s)"):format(PEERS,
    VIPS, (ticks(it, "node1") - first) / took, (ticks(it, "node2") - other) / took, took))
end

loop.test(function()
  local it = lab.up({ count = PEERS + 1 })
  local ok, err = xpcall(measure, debug.traceback, it)
  it:down()
  if not ok then error(err, 0) end
end, 300 + SECONDS)()
