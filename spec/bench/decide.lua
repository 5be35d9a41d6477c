--- One decision of the stock policy: 10,000 Services, a pool of 65,536. Bar: 20 microseconds, however full it is. Also
-- the whole way of an event (take it, decide, build patch and Events, reserve, take the patched object, forget it) and
-- the memory of a Service.
local engine = require("moonlb.allocator.engine")

local ROUNDS = tonumber((...)) or 10000
local USABLE = 65536 - 2 * 256
local DATA = { ["cidr-global"] = "10.0.0.0/16" }
local CONFIGMAP = { metadata = { namespace = "kube-system", name = "kubevip" }, data = DATA }

local function address_at(n)
  -- The n-th usable address of 10.0.0.0/16, from 0.
  return ("10.0.%d.%d"):format(n // 254, n % 254 + 1)
end

local function service(n, address)
  local annotations = address and { ["kube-vip.io/loadbalancerIPs"] = address,
    ["moonlb.io/assigned"] = address .. " default/global_pool" } or nil
  return {
    metadata = { namespace = "ns-" .. n % 100, name = "svc-" .. n, resourceVersion = tostring(n), uid = "uid-" .. n,
      creationTimestamp = "2026-01-01T00:00:00Z", labels = { app = "a" .. n, implementation = address and "kube-vip" },
      annotations = annotations },
    spec = { type = "LoadBalancer", loadBalancerIP = address, ipFamilies = { "IPv4" }, ipFamilyPolicy = "SingleStack",
      ports = { { port = 80, protocol = "TCP" }, { port = 443, protocol = "TCP" } } },
    status = { loadBalancer = address and { ingress = { { ip = address } } } or {} },
  }
end

-- CPU time of one call in microseconds: the median of ten batches, since other work shares the machine.
local function us(fn, rounds)
  local batches, each = {}, rounds // 10
  for batch = 1, 10 do
    local started = os.clock()
    for i = 1, each do fn((batch - 1) * each + i) end
    batches[batch] = (os.clock() - started) * 1e6 / each
  end
  table.sort(batches)
  return batches[5]
end

-- Addresses 0 .. used - 1 are out of the pool, all but `holes` of them, spread evenly.
local function fill(brain, used, services)
  local step = math.max(used // services, 1)
  for n = 1, math.min(services, used) do brain:set_service(service(n, address_at((n - 1) * step))) end
  return step
end

local function scenario(label, used, services, is_packed)
  local now = 0
  local brain = engine.new({ now = function() return now end, utc = function() return now end })
  brain:set_configmap(CONFIGMAP)
  fill(brain, used, services)
  if is_packed and used > services then brain:exclude(address_at(services) .. "-" .. address_at(used - 1), "bench") end
  brain:set_service(service(0))
  local decide = us(function() assert(brain:decide("ns-0/svc-0").addresses[1]) end, ROUNDS)
  local each = us(function(i)
    local n = 100000 + i % 8
    local key = ("ns-%d/svc-%d"):format(n % 100, n)
    brain:set_service(service(n))
    local result = brain:reconcile(key)
    brain:reserve(key, result.decision)
    brain:set_service(service(n, result.decision.addresses[1]))
    brain:remove_service(key)
    now = now + 6
  end, ROUNDS // 4)
  print(("%-34s %7.2f us a decision (%7.0f/s), %7.2f us from event to event"):format(label, decide, 1e6 / decide, each))
end

print(("%d rounds; pool 10.0.0.0/16: %d usable addresses"):format(ROUNDS, USABLE))
scenario("10 Services", 10, 10)
scenario("1 % full, 655 Services", USABLE // 100, 655)
scenario("50 % full, spread, 10,000 Services", USABLE // 2, 10000)
scenario("50 % full, packed, 10,000 Services", USABLE // 2, 10000, true)
scenario("99.9 % full, 10,000 Services", USABLE - USABLE // 1000, 10000, true)

collectgarbage()
collectgarbage()
local before = collectgarbage("count")
local brain = engine.new({})
brain:set_configmap(CONFIGMAP)
local objects = {}
for n = 1, 10000 do objects[n] = service(n, address_at(n)) end
collectgarbage()
local with_objects = collectgarbage("count")
for n = 1, 10000 do brain:set_service(objects[n]) end
collectgarbage()
print(("memory: %.2f kB a Service beside the object's %.2f kB"):format((collectgarbage("count") - with_objects) / 10000,
  (with_objects - before) / 10000))
