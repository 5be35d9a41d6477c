-- From the request that creates a Service until its address answers ARP at a neighbour: the allocator's decision and
-- write, the announcer's probe, the API server (the embedded one, in this process) in between.
-- Bars of DESIGN.md section 8: p50 200 ms, p99 400 ms; with --preprobe p50 60 ms.
--
--     build/moonlb-spec --script spec/bench/create.lua [COUNT]
local async = require("moonlb.async")
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")
local runtime = require("moonlb.core.runtime")
local uv = require("luv")

local COUNT = tonumber((...)) or 100

local function percentile(list, p) return list[math.max(1, math.ceil(#list * p))] * 1e3 end

-- One Service after another, each with time for the next address to be probed.
local function measure(it, name)
  local addresses, created, took = {}, {}, {}
  for i = 1, COUNT do addresses[i] = "10.78.0." .. i end
  local waiter = it:start("client", "/usr/bin/python3", uv.cwd() .. "/spec/support/arp_waiter.py",
    "eth0", table.unpack(addresses))
  loop.until_true(function() return waiter:output():find("ready") end, 5, "waiter")
  for i, ip in ipairs(addresses) do
    async.sleep(0.25)
    created[i] = runtime.walltime()
    it:service("s" .. i)
    local at = loop.until_true(function()
      return waiter:output():match(ip:gsub("%.", "%%.") .. " (%d[%d.]*)\n")
    end, 10, ip)
    took[i] = tonumber(at) - created[i]
  end
  table.sort(took)
  print(("%-18s %d Services: p50 %.0f ms, p90 %.0f, p99 %.0f, slowest %.0f"):format(name, COUNT, percentile(took, 0.5),
    percentile(took, 0.9), percentile(took, 0.99), took[#took] * 1e3))
end

local function with(name, arguments)
  loop.test(function()
    local it = lab.up({ configmap = { ["cidr-global"] = "10.78.0.0/24" } })
    local ok, err = xpcall(function()
      assert(it:on("client", "ip", "route", "add", "10.78.0.0/24", "dev", "eth0").code == 0)
      assert(it:on("node1", "ip", "address", "add", "10.78.0.250/24", "dev", "eth0").code == 0)
      it:moonlb("node1", arguments)
      it:service("first") -- when it is answered, everything runs
      it:until_address("first")
      it:delete("first")
      async.sleep(6) -- its address rests
      measure(it, name)
    end, debug.traceback)
    it:down()
    if not ok then error(err, 0) end
  end, 300)()
end

with("--probe fast", {})
with("--preprobe", { "--preprobe" })
