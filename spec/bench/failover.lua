--- What a client sees when the owner of VIPs dies or leaves: gap (the longest time between two requests that were
-- answered) and lost requests, by kind of failure; beside it keepalived (VRRP, advert_int 0.1) on the same lab.
-- Bar of DESIGN.md section 8: p99 of the gap 500 ms for killed, cut off and stopped; nothing lost in planned moves.
--
--     MOONLB=build/moonlb spec/lab/enter build/moonlb-spec --script spec/bench/failover.lua [RUNS] [KIND...]
--
-- For failures the client asks the LAN anew for each request: a killed or stopped node's kernel still accepts, and who
-- knows its MAC notices nothing, so a client with a memory would measure no detection. In planned moves it has one.
-- KIND: kill, cut, stop, term, drain, move, many (1,000 VIPs), keepalived; none: all. 30 runs of all take 20 minutes.
local async = require("moonlb.async")
local failover = require("spec.support.failover")
local lab = require("spec.support.lab")
local lan = require("moonlb.sandbox.lan")
local loop = require("spec.support.loop")
local moves = require("moonlb.announcer.moves")

local RUNS = tonumber((...)) or 30
local ONLY = { select(2, ...) }
local RATE = 1000
local VRRP = "10.77.0.160"
local VIPS, MANY, ASKED = 6, 1000, 40

local function vips()
  local list = {}
  for i = 1, VIPS do list[i] = "10.77.0." .. 149 + i end
  return list
end

-- The node that answers for most of the addresses, and which those are.
local function fullest(client, addresses)
  local held, most = {}, nil
  for _, ip in ipairs(addresses) do
    local name = client:from(ip)
    held[name] = held[name] or {}
    table.insert(held[name], ip)
    if not most or #held[name] > #held[most] then most = name end
  end
  return most, held[most]
end

-- One run: `fail(owner, its addresses)` while the client asks; `repair(owner)` after it. Adds one sample a VIP.
local function measure(play, rate, addresses, samples, fail, repair)
  local client = play[samples.client or "fresh_client"](play, rate, table.unpack(addresses))
  async.sleep(0.3)
  local owner, its = fullest(client, addresses)
  fail(owner, its)
  client:until_from(owner, its)
  async.sleep(0.5)
  local result = client:stop()
  for _, ip in ipairs(its) do table.insert(samples, result[ip]) end
  samples.runs = (samples.runs or 0) + 1
  repair(owner)
  async.sleep(1.5) -- heard, handshake done, quiet over
end

local function percentile(list, p)
  return list[math.max(1, math.ceil(#list * p))]
end

local function report(name, samples)
  local gaps, lost = {}, 0
  for i, sample in ipairs(samples) do
    gaps[i] = sample.gap_ms
    lost = lost + sample.lost
  end
  table.sort(gaps)
  print(("| %-26s | %4d | %7d | %6.0f | %6.0f | %6.0f | %8.1f |"):format(name, samples.runs, #samples,
    percentile(gaps, 0.5), percentile(gaps, 0.99), gaps[#gaps], lost / #samples))
  io.stdout:flush()
end

local function is_wanted(kind)
  for _, name in ipairs(ONLY) do
    if name == kind then return true end
  end
  return #ONLY == 0
end

local function nothing() end

-- As `moonlb move` does, for all of a node's addresses at once.
local function move_all(play, owner, its)
  local target = owner == "node1" and "node2" or "node1"
  for _, ip in ipairs(its) do
    local name = "web" .. ip:match("%d+$") - 149
    local _, claim = play:owner(name)
    assert(play.lab.kube:merge_patch("/api/v1/namespaces/demo/services/" .. name, { metadata = { annotations = {
      [moves.ANNOTATION] = moves.format(target, math.tointeger(tonumber(claim:match("^%d+")))) } } }))
  end
end

-- Asked for anew each 6 ms, an ARP answer that is later counts as a lost request: here a client with a memory is right.
local PLANNED = { term = true, drain = true, move = true }

-- Name, title, what fails, what repairs it.
local kinds = {
  { "kill", "moonlb, kill -9", function(play, owner) play:signal(owner, "sigkill") end,
    function(play, owner) play:run(owner) end },
  { "cut", "moonlb, link cut (node off)", function(play, owner) play:port(owner, "ip", "down") end,
    function(play, owner) play:port(owner, "ip", "up") end },
  { "stop", "moonlb, SIGSTOP", function(play, owner) play:signal(owner, "sigstop") end,
    function(play, owner) play:signal(owner, "sigcont") end },
  { "term", "moonlb, SIGTERM", function(play, owner) play:signal(owner, "sigterm") end, function(play, owner)
    play.running[owner]:wait(10)
    play:run(owner)
  end },
  { "drain", "moonlb, drain", function(play, owner) play:annotate_node(owner, "moonlb.io/drain", "true") end,
    function(play, owner) play:annotate_node(owner, "moonlb.io/drain", "false") end },
  { "move", "moonlb, move", move_all, nothing },
}

local function is_any_wanted()
  for _, kind in ipairs(kinds) do
    if is_wanted(kind[1]) then return true end
  end
  return false
end

local function bench_moonlb(it)
  local play, addresses = failover.play(it, 3), vips()
  for i, ip in ipairs(addresses) do
    it:service("web" .. i, { loadBalancerIP = ip })
    it:until_address("web" .. i, ip)
  end
  async.sleep(2)
  for _, kind in ipairs(kinds) do
    local name, title, fail, repair = table.unpack(kind)
    local samples = { client = PLANNED[name] and "client" or nil }
    for _ = 1, is_wanted(name) and RUNS or 0 do
      measure(play, RATE, addresses, samples, function(...) fail(play, ...) end, function(node) repair(play, node) end)
    end
    if samples.runs then report(title, samples) end
  end
end

-- 1,000 VIPs, beside the LAN's own prefix: the client has a route. 40 of them are asked, 50 times a second each.
local function bench_many(it)
  for _, host in ipairs({ "client", "node1", "node2", "node3" }) do
    it:on(host, "ip", "route", "add", "10.78.0.0/16", "dev", "eth0")
  end
  local play = failover.play(it, 3)
  for i = 1, MANY do
    it:service("web" .. i, { loadBalancerIP = ("10.78.%d.%d"):format(i // 250, i % 250 + 1) })
  end
  local addresses = {}
  for i = 1, ASKED do
    local number = i * MANY // ASKED
    addresses[i] = ("10.78.%d.%d"):format(number // 250, number % 250 + 1)
    it:until_address("web" .. number, addresses[i])
  end
  async.sleep(3)
  local samples = { cut = {}, kill = {} }
  for i = 1, math.max(1, RUNS // 3) do
    local name = i % 2 == 0 and "kill" or "cut"
    local kind = name == "kill" and kinds[1] or kinds[2]
    measure(play, 50 * ASKED, addresses, samples[name], function(...) kind[3](play, ...) end,
      function(node) kind[4](play, node) end)
    async.sleep(6) -- the API's copy of some hundred claims
  end
  report("moonlb, cut, 1,000 VIPs", samples.cut)
  if samples.kill.runs then report("moonlb, kill -9, 1,000 VIPs", samples.kill) end
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

-- Killed or stopped, keepalived leaves the address on the interface, and the kernel goes on answering ARP for it beside
-- the new owner's: there is no gap to measure, and two nodes answer until somebody takes the address off.
local function bench_keepalived(it)
  local play = failover.play(it, 2, {})
  local running, paths = {}, {}
  local function start(name) running[name], paths[name] = run_keepalived(it, name, name == "node1" and 100 or 99) end
  start("node1")
  start("node2")
  async.sleep(2)
  local samples = { cut = {}, term = {} }
  for _ = 1, RUNS do
    measure(play, RATE, { VRRP }, samples.cut, function(node) play:port(node, "ip", "down") end,
      function(node) play:port(node, "ip", "up") end)
  end
  report("keepalived, link cut", samples.cut)
  for _ = 1, RUNS do
    measure(play, RATE, { VRRP }, samples.term, function(node) lan.kill(running[node], "sigterm") end,
      function(node)
        running[node]:wait(5)
        start(node)
      end)
  end
  report("keepalived, SIGTERM", samples.term)
  for _, path in pairs(paths) do os.remove(path) end
end

-- A lab for `body`, taken down whatever happens.
local function with_lab(count, body)
  loop.test(function()
    local it = lab.up({ count = count })
    local ok, err = xpcall(body, debug.traceback, it)
    it:down()
    if not ok then error(err, 0) end
  end, 60 + 60 * RUNS)()
end

print(("%d requests a second to %d VIPs; gap in ms, lost requests a VIP"):format(RATE,
  VIPS))
print("| what fails                 | runs | samples |    p50 |    p99 |    max | lost/VIP |")
print("|---|---|---|---|---|---|---|")
if is_any_wanted() then with_lab(3, bench_moonlb) end
if is_wanted("many") then with_lab(3, bench_many) end
if is_wanted("keepalived") then with_lab(2, bench_keepalived) end
