--- What a client sees when the owner of a VIP dies: gap (the longest time between two requests that were answered) and
-- lost requests, by kind of failure; beside it keepalived (VRRP, advert_int 0.1) on the same lab.
-- Bar of DESIGN.md section 8: p99 of the gap 500 ms for killed, cut off and stopped; nothing lost in planned moves.
--
--     build/moonlb-spec --script spec/bench/failover.lua [RUNS] [KIND...]
local async = require("moonlb.async")
local failover = require("spec.support.failover")
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")

local RUNS = tonumber((...)) or 5
local ONLY = { select(2, ...) }
local RATE = 1000
local VIP, VRRP = "10.77.0.150", "10.77.0.160"

-- One run: `fail(owner)` while the client asks; `repair(owner)` after it.
local function measure(play, ip, owner, fail, repair)
  local client = play:client(RATE, ip)
  async.sleep(0.5)
  fail(owner)
  client:until_from(owner)
  local heir = client:from(ip)
  async.sleep(0.7)
  local result = client:stop()[ip]
  repair(owner)
  async.sleep(2.5) -- heard, handshake done, quiet over
  return result, heir
end

local function percentile(list, p)
  return list[math.max(1, math.ceil(#list * p))]
end

local function report(name, results)
  local gaps, lost = {}, 0
  for i, result in ipairs(results) do
    gaps[i] = result.gap_ms
    lost = lost + result.lost
  end
  table.sort(gaps)
  print(("| %-22s | %4d | %6.0f | %6.0f | %6.0f | %8.1f |"):format(name, #results, percentile(gaps, 0.5),
    percentile(gaps, 0.99), gaps[#gaps], lost / #results))
end

local function is_wanted(kind)
  for _, name in ipairs(ONLY) do
    if name == kind then return true end
  end
  return #ONLY == 0
end

local kinds = {
  { "kill -9", function(play, owner) play:signal(owner, "sigkill") end, function(play, owner) play:run(owner) end },
  { "link cut", function(play, owner) play:port(owner, "ip", "down") end,
    function(play, owner) play:port(owner, "ip", "up") end },
  { "SIGSTOP", function(play, owner) play:signal(owner, "sigstop") end,
    function(play, owner) play:signal(owner, "sigcont") end },
  { "SIGTERM", function(play, owner) play:signal(owner, "sigterm") end, function(play, owner)
    play.running[owner]:wait(10)
    play:run(owner)
  end },
  { "drain", function(play, owner) play:annotate_node(owner, "moonlb.io/drain", "true") end,
    function(play, owner) play:annotate_node(owner, "moonlb.io/drain", "false") end },
}

local function bench_moonlb(it)
  local play = failover.play(it, 3)
  it:service("web", { loadBalancerIP = VIP })
  it:until_address("web", VIP)
  local owner = play:until_owner("web")
  async.sleep(2)
  for _, kind in ipairs(kinds) do
    local name, fail, repair = kind[1], kind[2], kind[3]
    local results = {}
    for i = 1, is_wanted(name) and RUNS or 0 do
      results[i], owner = measure(play, VIP, owner, function(node) fail(play, node) end,
        function(node) repair(play, node) end)
    end
    if results[1] then report("moonlb " .. name, results) end
  end
end

local KEEPALIVED = [[
global_defs {
  router_id %s
  vrrp_version 3
}
vrrp_instance vip {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority %d
  advert_int 0.1
  virtual_ipaddress { %s/24 }
}
]]

local function run_keepalived(it, name, priority)
  local path = ("%s/keepalived-%s.conf"):format(it.folder, name)
  local file = assert(io.open(path, "w"))
  file:write(KEEPALIVED:format(name, priority, VRRP))
  file:close()
  return it:start(name, "keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", path,
    "--pid", ("/run/%s.pid"):format(name), "--vrrp_pid", ("/run/%s-vrrp.pid"):format(name)), path
end

-- Killed or stopped, keepalived leaves the address on the interface, and the kernel goes on answering for it: with a
-- backend that lives there is no gap to measure, and without one it would last until somebody takes the address off.
local function bench_keepalived(it)
  local play = failover.play(it, 2, {})
  local running, paths = {}, {}
  local function start(name) running[name], paths[name] = run_keepalived(it, name, name == "node1" and 100 or 99) end
  start("node1")
  start("node2")
  async.sleep(2)
  local probe = play:client(100, VRRP)
  local owner = probe:from(VRRP)
  probe:stop()
  local results = { cut = {}, term = {} }
  for i = 1, RUNS do
    results.cut[i], owner = measure(play, VRRP, owner, function(node) play:port(node, "ip", "down") end,
      function(node) play:port(node, "ip", "up") end)
    results.term[i], owner = measure(play, VRRP, owner,
      function(node) require("moonlb.sandbox.lan").kill(running[node], "sigterm") end,
      function(node)
        running[node]:wait(5)
        start(node)
      end)
  end
  report("keepalived link cut", results.cut)
  report("keepalived SIGTERM", results.term)
  for _, path in pairs(paths) do os.remove(path) end
end

-- A lab for `body`, taken down whatever happens.
local function with_lab(count, body)
  loop.test(function()
    local it = lab.up({ count = count })
    local ok, err = xpcall(body, debug.traceback, it)
    it:down()
    if not ok then error(err, 0) end
  end, 600)()
end

print(("%d requests a second to one VIP, %d runs each; gap in ms"):format(RATE, RUNS))
print("| what fails             | runs |    p50 |    p99 |    max | lost/run |")
print("|---|---|---|---|---|---|")
with_lab(3, bench_moonlb)
if is_wanted("keepalived") then with_lab(2, bench_keepalived) end
