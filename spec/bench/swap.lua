-- What swapping a mounted policy costs at 10,000 Services that it decides: how long all of it takes, and how long the
-- loop was held in one turn. Bars: a second, 20 ms. Once by a version that decides as the one before, and once by one
-- that would give every Service another address. The machine decides, so nothing is asserted.
local async = require("moonlb.async")
local engine = require("moonlb.allocator.engine")
local policy_host = require("moonlb.policy.host")
local runtime = require("moonlb.core.runtime")
local store = require("moonlb.policy.store")
local uv = require("luv")

local SERVICES, ROUNDS = tonumber((...)) or 10000, 3
local SAME = [[return { api = 1, rules = { function(service) return use(service.metadata.labels.address) end },
  tests = { { service = { metadata = { labels = { address = "10.0.0.1" } } }, expect = { rule = "rule-1" } } } }]]
local OTHER = [[return { api = 1, rules = { function(service, cluster)
  local name = service.metadata.namespace .. "/" .. service.metadata.name
  return use(cluster.pool("10.1.0.0/16"):free({ prefer = name })) end },
  tests = { { expect = { rule = "rule-1" } } } }]]

require("moonlb.core.log").configure({ level = "error" })

local function object(n)
  local item = ("10.0.%d.%d"):format(n // 254, n % 254 + 1)
  return { metadata = { namespace = "ns-" .. n % 100, name = "svc-" .. n, resourceVersion = "1", uid = "uid-" .. n,
      creationTimestamp = "2026-01-01T00:00:00Z",
      labels = { app = "a" .. n % 500, address = item, implementation = "kube-vip" },
      annotations = { ["kube-vip.io/loadbalancerIPs"] = item, ["moonlb.io/assigned"] = item .. " team/rule-1" } },
    spec = { type = "LoadBalancer", loadBalancerIP = item, ports = { { port = 80, protocol = "TCP" } } },
    status = { loadBalancer = { ingress = { { ip = item } } } } }
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- The turns of the loop, seen from a check and a prepare handle: between them is work. In CPU time: what
-- else the machine does is not ours.
local function watch_turns()
  local turns = { longest = 0, over = 0 }
  local check, prepare, began = uv.new_check(), uv.new_prepare(), nil
  check:start(function() began = began or os.clock() end)
  prepare:start(function()
    local length = began and (os.clock() - began) * 1e3 or 0
    turns.longest = math.max(turns.longest, length)
    if length > 20 then turns.over = turns.over + 1 end
    began = nil
  end)
  function turns.stop()
    check:close()
    prepare:close()
  end
  return turns
end

local function run()
  local dir = assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/moonlb-swap-XXXXXX"))
  write(dir .. "/team.lua", SAME)
  local swaps, said = 0, nil
  local host = policy_host.new({ now = runtime.boottime })
  local own = store.new({ dir = dir, host = host, settings = {}, on_swap = function() swaps = swaps + 1 end,
    emit = function(_, _, message) said = message end })
  own:start()
  local live = engine.new({ now = runtime.boottime, utc = runtime.walltime, host = host })
  live:set_configmap({ metadata = { namespace = "kube-system", name = "kubevip" },
    data = { policy = "team", ["cidr-global"] = "10.0.0.0/16" } })
  for n = 1, SERVICES do live:set_service(object(n)) end
  own:attach(live)
  local function swap(what, text)
    collectgarbage()
    local turns, began, before = watch_turns(), uv.hrtime(), swaps
    write(dir .. "/team.lua", text)
    while swaps == before and not (said and said:find("stays in use")) do async.sleep(0.005) end
    turns.stop()
    print(("%d Services, %s: swapped in %.2f s; longest turn of the loop %.1f ms, %d turns over 20 ms (CPU time)")
      :format(SERVICES, what, (uv.hrtime() - began) / 1e9, turns.longest, turns.over))
    print("  " .. said)
  end
  for round = 1, ROUNDS do
    swap("all as before", SAME .. "-- " .. round)
    swap("all otherwise", OTHER .. "-- " .. round)
  end
  own:stop()
  uv.fs_unlink(dir .. "/team.lua")
  uv.fs_rmdir(dir)
end

-- As the daemon has it.
collectgarbage("incremental", 125, 200)
local task = async.run(run)
while not task.is_done do uv.run("once") end
