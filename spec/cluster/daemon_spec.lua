-- What a supervisor, a scraper and an operator see of `moonlb run`.
local allocator = require("spec.support.allocator")
local async = require("moonlb.async")
local client = require("moonlb.control.client")
local http = require("spec.support.http")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local temporary = require("spec.support.temporary")

-- The body and the status of one path, "" and 0 while nobody listens.
local function get(port, path)
  local answer = http.curl("-w", "\n%{http_code}", ("http://127.0.0.1:%d%s"):format(port, path)):wait(20).out
  local body, status = answer:match("^(.*)\n(%d+)$")
  return body, tonumber(status)
end

local function with(body, settle)
  return kubernetes.test(function(c)
    local ns, port = c:namespace(), http.free_port()
    if settle then settle(c, ns) end
    local moonlb = allocator.launch(c, ns, "--listen", "127.0.0.1", "--port", tostring(port))
    body(c, ns, port, moonlb)
  end)
end

local function ready(port)
  loop.until_true(function() return select(2, get(port, "/readyz")) == 200 end, 20, "ready")
end

describe("/readyz", function()
  it("says what is missing until it is there", with(function(c, _, port, moonlb)
    moonlb:says("cannot follow the API")
    local body, status = get(port, "/readyz")
    assert.equal(503, status)
    assert.matches("services: %a", body)
    assert.is_nil(body:find("not listed yet"))
    assert.same({ "ok\n", 200 }, { get(port, "/healthz") })
    c.embedded.faults.rules = {}
    ready(port)
  end, function(c)
    c:needs("faults")
    c.faults({ action = "status", verb = "list", path = "/api/v1/services", code = 403, count = 1000 })
  end))
end)

describe("/metrics", function()
  it("counts what was decided, asked and used, in the Prometheus text format", with(function(c, ns, port, moonlb)
    moonlb:says("msg=allocating")
    allocator.service(c, ns, "one")
    allocator.service(c, ns, "asks", { ip = "192.0.2.1" })
    allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
    allocator.expect(c, ns, "asks", "192.0.2.1", "static")
    local text, status = get(port, "/metrics")
    assert.equal(200, status)
    for _, line in ipairs({ 'moonlb_decisions_written_total{action="assign"} 1',
      'moonlb_decisions_written_total{action="static"} 1', 'moonlb_pool_addresses{family="ipv4",pool="global"} 254',
      'moonlb_pool_addresses_used{family="ipv4",pool="global"} 1',
      'moonlb_pool_addresses{family="ipv6",pool="global"} 256',
      'moonlb_pool_addresses_free{family="ipv4",pool="global"} 253', "moonlb_leader 1",
      'moonlb_watch_restarts_total{resource="services"} 0', "# TYPE moonlb_api_requests_total counter",
      "# TYPE moonlb_anonymous_memory_bytes gauge" }) do
      assert.truthy(text:find("\n" .. line .. "\n", 1, true), line .. " in\n" .. text)
    end
    assert.matches('moonlb_api_requests_total{code="200",verb="PATCH"} %d+\n', text)
    for line in text:gmatch("[^\n]+") do
      assert.truthy(line:find("^# %u+ moonlb_[%l_]+ ") or line:find("^moonlb_[%l_]+{?[^}]*}? %-?[%d.e+-]+$"), line)
    end
  end, function(c, ns) allocator.configure(c, ns, { ["cidr-global"] = "10.77.0.0/24,fd77::/120" }) end))
end)

describe("a signal", function()
  it("SIGTERM gives the Lease back and ends with 0; SIGHUP does nothing", with(function(c, ns, port, moonlb)
    moonlb:says("msg=allocating")
    moonlb.process:kill("sighup")
    moonlb:says("SIGHUP")
    ready(port)
    moonlb:stop()
    assert.equal("", (c:run("-n", ns, "get", "lease", "moonlb-allocator", "-o", "jsonpath={.spec.holderIdentity}")))
  end))
end)

describe("moonlb run", function()
  it("has given up what it does not need (capabilities(7); proc(5), status)", with(function(_, _, port, moonlb)
    ready(port)
    local file = assert(io.open(("/proc/%d/status"):format(moonlb.process.pid)))
    local status = file:read("a")
    file:close()
    assert.equal("1", status:match("NoNewPrivs:%s*(%d)"))
    assert.equal("2", status:match("Seccomp:%s*(%d)"))
    local mine = 1 << 10 | 1 << 12 | 1 << 13 | 1 << 23 | 1 << 2 -- and to read the credentials of another user
    for _, set in ipairs({ "CapPrm", "CapEff" }) do
      assert.equal(0, tonumber(status:match(set .. ":%s*(%x+)"), 16) & ~mine, status)
    end
  end))
end)

-- MiB; what is freed under AddressSanitizer stays for a while (quarantine_size_mb, 256).
local MEMORY = program.moonlb():find("sanitize", 1, true) and 300 or 8

-- 1 GiB without a newline, or as much of it as is taken; says how much.
local FLOOD = [[
import socket, sys
client, sent = socket.socket(socket.AF_UNIX), 0
client.connect(sys.argv[1])
try:
    while sent < 1 << 30:
        client.sendall(b"x" * (1 << 20))
        sent += 1 << 20
except (BrokenPipeError, ConnectionResetError):
    pass
print(sent >> 20)
]]

describe("the control socket", function()
  it("costs bounded memory, and nothing else, when 20 clients send 1 GiB without a newline", kubernetes.test(function(c)
    local folder = temporary.folder("moonlb-control")
    local moonlb = allocator.launch(c, c:namespace(), "--state-dir", folder)
    moonlb:says("msg=allocating")
    local path = folder .. "/control.sock"
    local function peak()
      local file = assert(io.open(("/proc/%d/status"):format(moonlb.process.pid)))
      local text = file:read("a")
      file:close()
      return tonumber(text:match("VmHWM:%s*(%d+) kB")) / 1024
    end
    local before, done = peak(), 0
    for _ = 1, 20 do
      async.run(function()
        local flood = program.run("/usr/bin/python3", { "-c", FLOOD, path }, { timeout = 60 })
        assert(flood.code == 0, flood.stderr)
        assert(tonumber(flood.stdout) < 1024, "the daemon took 1 GiB")
        done = done + 1
      end)
    end
    while done < 20 do	-- served all the while
      assert.is_string(assert(client.call(path, { op = "version" })).version)
    end
    assert.is_true(peak() - before < MEMORY, ("%.1f MiB more"):format(peak() - before))
    temporary.remove(folder)
  end))
end)

describe("a port in use", function()
  it("ends the start with an error that names it", with(function(c, ns, port, moonlb)
    moonlb:says("msg=allocating")
    local second = allocator.launch(c, ns, "--listen", "127.0.0.1", "--port", tostring(port))
    second.process:wait(20)
    assert.equal(1, second.process.code)
    assert.matches("cannot serve health and metrics.*" .. port, second.process.out .. second.process.err)
  end))
end)
