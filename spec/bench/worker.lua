-- What a decision costs in the worker: alone and in batches of 100, at 10,000 Services that fill a pool of 65,536
-- addresses by a seventh; of the stock policy's rules, and of one that looks at the Service itself. Says, asserts
-- nothing: the machine decides.
local loop = require("spec.support.loop")
local state = require("moonlb.allocator.state")
local uv = require("luv")
local worker = require("moonlb.policy.worker")

local SERVICES, ASKED, ROUNDS, ALONE = 10000, 100, 100, 5000
local STOCK = "return { api = 1, rules = { rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool } }"
local OWN = [[return { api = 1, rules = { rule.static, rule.dhcp, function(service, cluster)
  if service.metadata.labels.tier ~= "front" then return nil, "not at the front" end
  return use(cluster.global_pool():free())
end } }]]
local SETTINGS = { configmap = "kube-system/kubevip" }

local function object(i, addresses)
  return { apiVersion = "v1", kind = "Service",
    metadata = { namespace = "team-" .. i % 50, name = "service-" .. i, creationTimestamp = "2026-01-01T00:00:00Z",
      labels = { app = "app-" .. i % 500, team = "team-" .. i % 50, tier = "front", version = "v" .. i % 3 },
      annotations = addresses and { ["kube-vip.io/loadbalancerIPs"] = addresses,
        ["moonlb.io/assigned"] = addresses .. " default/global_pool" } or { note = "pending" } },
    spec = { type = "LoadBalancer", ipFamilyPolicy = "SingleStack", ipFamilies = { "IPv4" },
      ports = { { name = "http", port = 80, protocol = "TCP" }, { name = "https", port = 443, protocol = "TCP" } } } }
end

local function cluster()
  local clock = function() return uv.hrtime() / 1e9 end
  local all = state.new({ settings = SETTINGS, now = clock, utc = clock })
  all.configmap = { metadata = { name = "kubevip" }, data = { ["cidr-global"] = "10.0.0.0/16" } }
  all:set_configmap(all.configmap)
  for i = 1, SERVICES do
    local has = i > ASKED and ("10.0.%d.%d"):format(i // 250, i % 250 + 1) or nil
    all:set_service(object(i, has))
  end
  return all, clock
end

-- CPU time of the worker, seconds: fields 14 and 15 of proc(5), in ticks of 10 ms.
local function cpu_of(pid)
  local file = assert(io.open("/proc/" .. pid .. "/stat"))
  local user, system = file:read("a"):match("%) %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  file:close()
  return (user + system) / 100
end

-- Run `body` and say what each of `count` decisions took: by the clock, and of CPU time here and in the worker. The
-- clock suffers when the machine does other work as well, CPU time less.
local function say(what, count, own, body)
  local pid = own:describe("p").pid
  collectgarbage()	-- what was done before is not this one's garbage
  local wall, cpu, there = uv.hrtime(), os.clock(), cpu_of(pid)
  body()
  print(("%-24s %7.1f us each; CPU here %6.1f, in the worker %6.1f"):format(what, (uv.hrtime() - wall) / 1e3 / count,
    (os.clock() - cpu) * 1e6 / count, (cpu_of(pid) - there) * 1e6 / count))
end

local function measure(what, policy, all, clock, requests)
  local own = worker.new({ settings = SETTINGS, now = clock, utc = clock })
  local began = uv.hrtime()
  assert(own:load("p", policy, "p.lua"))
  print(("%s: start and load %.1f ms"):format(what, (uv.hrtime() - began) / 1e6))
  say("feed and first decision", 1, own, function()
    assert(own:decide("p", requests[1], all).kind == "use", "the policy gives an address")
  end)
  say("batches of 100", ROUNDS * ASKED, own, function()
    for _ = 1, ROUNDS do own:decide_batch("p", requests, all) end
  end)
  say("alone", ALONE, own, function()
    for i = 1, ALONE do own:decide("p", requests[i % ASKED + 1], all) end
  end)
  own:close()
end

loop.test(function()
  local all, clock = cluster()
  local requests = {}
  for i = 1, ASKED do requests[i] = { key = ("team-%d/service-%d"):format(i % 50, i) } end
  measure("the stock policy's rules", STOCK, all, clock, requests)
  measure("a rule of its own", OWN, all, clock, requests)
end, 60)()
