-- How long 50 sessions keep the daemon's loop from its turn while 1,000 Services change: `moonlb run --allocate` beside
-- the embedded API, sessions that ask without a pause, and what the daemon itself counted (callbacks above 20 ms, the
-- longest of them).
local async = require("moonlb.async")
local client = require("moonlb.control.client")
local http = require("spec.support.http")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local SERVICES, SESSIONS, SECONDS = 1000, 50, 10

local REQUESTS = {
  { op = "list", what = "services" }, { op = "names", what = "services", prefix = "", stop = "/" },
  { op = "list", what = "pools" }, { op = "get", what = "services", key = "load/s500" }, { op = "queue" },
  { op = "list", what = "services", after = "load/s500" }, { op = "list", what = "objects" },
  { op = "list", what = "config" }, { op = "explain", service = "load/s1" },
}

local function object(i, round)
  return { metadata = { namespace = "load", name = "s" .. i, annotations = { round = tostring(round) } },
    spec = { type = "LoadBalancer", ports = { { port = 80, protocol = "TCP" } } } }
end

local function metric(text, name)
  return tonumber(text:match("\nmoonlb_" .. name .. " ([%d.e+-]+)"))
end

local function bench()
  local folder = temporary.folder("moonlb-bench")
  local server = assert(require("moonlb.sandbox.api").start({ port = 0 }))
  local kube = require("moonlb.kube.client").new(assert(require("moonlb.core.kube").client({ server = server.url })))
  assert(server:create("v1", "namespaces", nil, { metadata = { name = "load" } }))
  assert(server:create("v1", "configmaps", "kube-system", { metadata = { name = "kubevip" },
    data = { ["cidr-global"] = "10.64.0.0/16" } }))
  for i = 1, SERVICES do assert(kube:create("/api/v1/namespaces/load/services", object(i, 0))) end
  local file = assert(io.open(folder .. "/kubeconfig", "w"))
  file:write(server:kubeconfig())
  file:close()
  local port = 20000 + math.tointeger(uv.os_getpid()) % 10000
  local daemon = http.spawn(program.moonlb(), { "run", "--allocate", "--kubeconfig", folder .. "/kubeconfig",
    "--state-dir", folder, "--listen", "127.0.0.1", "--port", tostring(port), "--log-level", "warn" })
  local socket = folder .. "/control.sock"
  loop.until_true(function()
    local page = uv.fs_stat(socket) and client.call(socket, { op = "list", what = "services", limit = 1 })
    if daemon.code then error("the daemon ended: " .. daemon.out .. daemon.err, 0) end
    return page and page.total == SERVICES
  end, 20, "the daemon knows the Services")

  local function page() return http.curl(("http://127.0.0.1:%d/metrics"):format(port)):wait(20).out end
  for _, request in ipairs(REQUESTS) do
    local began = uv.hrtime()
    for _ = 1, 10 do assert(client.call(socket, request)) end
    print(("%-8s %-10s %6.1f ms alone"):format(request.op, request.what or "", (uv.hrtime() - began) / 1e7))
  end
  local before = metric(page(), "long_callbacks_total")
  local is_over, asked, failed, longest, changed = false, 0, 0, 0, 0
  for n = 1, SESSIONS do
    async.run(function()
      local session = assert(client.connect(socket))
      while not is_over do
        n = n % #REQUESTS + 1
        local began = uv.hrtime()
        local result = session:call(REQUESTS[n])
        longest = math.max(longest, (uv.hrtime() - began) / 1e9)
        asked, failed = asked + 1, failed + (result == nil and 1 or 0)
      end
      session:close()
    end)
  end
  async.run(function()
    for round = 1, 1000 do
      for i = 1, SERVICES do
        if is_over then return end
        assert(kube:merge_patch("/api/v1/namespaces/load/services/s" .. i,
          { metadata = { annotations = { round = tostring(round) } } }))
        changed = changed + 1
      end
    end
  end)
  async.sleep(SECONDS)
  is_over = true
  async.sleep(0.5)
  local text = page()
  print(("%d sessions, %d Services, %d s: %d requests answered (%d failed), %d changes of Services"):format(SESSIONS,
    SERVICES, SECONDS, asked, failed, changed))
  print(("daemon: callbacks above 20 ms while they asked: %d; longest since its start: %.1f ms; worst lag of the loop:"
    .. " %.1f ms"):format(metric(text, "long_callbacks_total") - before,
    1000 * metric(text, "longest_callback_seconds"), 1000 * metric(text, "loop_lag_worst_seconds")))
  print(("longest answer that a session waited for: %.0f ms"):format(1000 * longest))
  daemon:kill("sigterm")
  daemon:wait(20)
  server:stop()
  temporary.remove(folder)
end

loop.test(bench, 180)()
