--- 10,000 Services (or as many as the first argument says) of the embedded API: listed and indexed by `moonlb run`,
-- then allocated from empty. Bars: 1 s and 40 MiB of anonymous memory; no callback over 20 ms. The server is this
-- process: what it needs to answer is part of each time, and measured alone by curl.
local api = require("moonlb.sandbox.api")
local async = require("moonlb.async")
local http = require("spec.support.http")
local json = require("moonlb.sandbox.json")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local uv = require("luv")

local COUNT = tonumber((...)) or 10000
local SETTLED = 5 -- seconds after the end

local function seconds_since(start) return (uv.hrtime() - start) / 1e9 end

-- About what kubectl apply leaves of a real Service: labels, annotations, a last-applied of 1 kB.
local function service(n, address)
  local annotations = { ["kubectl.kubernetes.io/last-applied-configuration"] = ("x"):rep(1000),
    ["example.com/owner"] = "team-" .. n % 50, ["example.com/ticket"] = "T-" .. n }
  if address then
    annotations["kube-vip.io/loadbalancerIPs"] = address
    annotations["moonlb.io/assigned"] = address .. " default/global_pool"
  end
  return {
    metadata = { name = "svc-" .. n, annotations = annotations, labels = { app = "app-" .. n, tier = "web",
      implementation = address and "kube-vip" or nil } },
    spec = { type = "LoadBalancer", allocateLoadBalancerNodePorts = false, loadBalancerIP = address,
      selector = { app = "app-" .. n },
      ports = json.list({ { name = "http", port = 80, protocol = "TCP" }, { name = "https", port = 443,
        protocol = "TCP" } }) },
  }
end

local function start_server(has_addresses)
  local server = assert(api.start({ cluster_cidrs = { "10.96.0.0/14" } }))
  for n = 1, COUNT do
    local address = has_addresses and ("10.0.%d.%d"):format(n // 254, n % 254 + 1) or nil
    assert(server:create("v1", "services", "default", service(n, address)))
  end
  assert(server:create("v1", "configmaps", "kube-system", { metadata = { name = "kubevip" },
    data = { ["cidr-global"] = "10.0.0.0/16" } }))
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(server:kubeconfig())
  file:close()
  return server, path
end

local function start_moonlb(kubeconfig, port)
  return http.spawn(program.moonlb(), { "run", "--allocate", "--kubeconfig", kubeconfig, "--listen", "127.0.0.1",
    "--port", tostring(port), "--log-level", os.getenv("BENCH_LOG") and "debug" or "info" })
end

local function free_port()
  local probe = uv.new_tcp()
  probe:bind("127.0.0.1", 0)
  local port = probe:getsockname().port
  probe:close()
  return port
end

local function metrics(port)
  local text = http.curl(("http://127.0.0.1:%d/metrics"):format(port)):wait().out
  return function(name) return tonumber(text:match("\nmoonlb_" .. name .. " (%S+)")) end
end

-- The server's own time for all pages of one list.
local function list_alone(server)
  local start, continue, bytes = uv.hrtime(), "", 0
  repeat
    local page = http.curl(("%s/api/v1/services?limit=500&continue=%s"):format(server.url, continue)):wait(60).out
    bytes = bytes + #page
    continue = page:sub(1, 400):match('"continue":"([^"]+)"') or ""
  until continue == ""
  return seconds_since(start), bytes
end

local function run(label, has_addresses, is_done)
  local server, kubeconfig = start_server(has_addresses)
  local port = free_port()
  local alone, bytes = list_alone(server)
  local start = uv.hrtime()
  local moonlb = start_moonlb(kubeconfig, port)
  loop.until_true(function()
    return moonlb.code and error(moonlb.err) or (moonlb.out .. moonlb.err):find("msg=allocating", 1, true)
  end, 300, "moonlb allocates")
  local ready = seconds_since(start)
  loop.until_true(function() return is_done(metrics(port)) end, 600, "all is written")
  local done = seconds_since(start)
  local at_end = metrics(port)("anonymous_memory_bytes")
  async.sleep(SETTLED)
  local value = metrics(port)
  print(("%-22s start to listed and indexed %6.2f s (server alone %5.2f s a list, %.1f MB)"):format(label,
    ready, alone, bytes / 1e6))
  print(("%-22s to the end %6.2f s; RssAnon %5.1f MiB, settled %5.1f (Lua %5.1f); longest callback %5.1f ms"):format("",
    done, at_end / 2^20, value("anonymous_memory_bytes") / 2^20, value("lua_memory_bytes") / 2^20,
    value("longest_callback_seconds") * 1e3))
  if os.getenv("BENCH_LOG") then print(moonlb.out .. moonlb.err) end
  moonlb:kill("sigterm")
  moonlb:wait(30)
  server:stop()
  os.remove(kubeconfig)
end

loop.test(function()
  print(("%d Services of the embedded API"):format(COUNT))
  run("all have addresses", true, function(value) return value('queue_depth{queue="allocator"}') == 0 end)
  run("none has one", false, function(value)
    return (value('decisions_written_total{action="assign"}') or 0) >= COUNT
  end)
end, 1500)()
