-- `moonlb explain`, `doctor` and `record` as programs: with a daemon beside an API server, and with the server alone.
local allocator = require("spec.support.allocator")
local cjson = require("cjson")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local temporary = require("spec.support.temporary")

local function run(c, folder, command, ...)
  return program.run(program.moonlb(), { command, ... }, { env = { KUBECONFIG = c.kubeconfig,
    MOONLB_STATE_DIR = folder } })
end

local function explain(c, folder, ns, name, ...)
  local result = run(c, folder, "explain", ns .. "/" .. name, "-o", "json", "--configmap-namespace", ns, ...)
  assert.equal("", result.stderr)
  return cjson.decode(result.stdout), result.code
end

local function test(body)
  return kubernetes.test(function(c)
    body(c, c:namespace(), temporary.folder("moonlb-explain"))
  end, 90)
end

describe("moonlb explain", function()
  it("asks the daemon, which knows its decisions, and changes with what happens", test(function(c, ns, folder)
    allocator.configure(c, ns, { ["range-global"] = "10.77.0.100-10.77.0.100" })
    local moonlb = allocator.start(c, ns, "--state-dir", folder)
    allocator.service(c, ns, "web")
    allocator.expect(c, ns, "web", "10.77.0.100", "global_pool")
    allocator.service(c, ns, "late")
    allocator.described(c, ns, "late", "PoolExhausted")
    local late, code = explain(c, folder, ns, "late")
    assert.same({ "pool-exhausted", "daemon", 1 }, { late.diagnosis, late.source, code })
    assert.matches("range%-global is full: 1 of 1", late.sentence)
    local kinds = {}
    for _, entry in ipairs(late.history) do kinds[entry.kind] = true end
    assert.same({ decision = true, event = true }, kinds)
    local web = explain(c, folder, ns, "web")
    local page = run(c, folder, "explain", ns .. "/web").stdout
    assert.matches("namespace_pool +pass +", page)
    assert.matches("global_pool +use", page)
    assert.same({ "announcer-off", { "10.77.0.100" } }, { web.diagnosis, web.addresses })
    assert.equal("no-such-service", explain(c, folder, ns, "nobody").diagnosis)
    c:run("-n", ns, "delete", "svc", "web")
    allocator.expect(c, ns, "late", "10.77.0.100", "global_pool")
    loop.until_true(function() return explain(c, folder, ns, "late").diagnosis == "announcer-off" end, 10, "an address")
    moonlb:stop()
  end))

  it("reads the cluster where no daemon runs, and says what it cannot know", test(function(c, ns, folder)
    allocator.configure(c, ns, { ["range-other"] = "10.77.0.100" })
    allocator.service(c, ns, "web")
    local report = explain(c, folder, ns, "web")
    assert.same({ "no-pool", "cluster" }, { report.diagnosis, report.source })
    assert.matches("no daemon was asked", table.concat(report.unknown, "; "))
    allocator.configure(c, ns, { ["range-global"] = "10.77.0.100" })
    report = explain(c, folder, ns, "web")
    assert.equal("no-leader", report.diagnosis)
    local page = run(c, folder, "explain", ns .. "/web", "--configmap-namespace", ns)
    assert.equal(report.sentence, page.stdout:match("^[^\n]+"))
    assert.matches("\nRULE +RESULT +WHY\n", page.stdout)
    assert.matches("\nnot known: ", page.stdout)
  end))

  it("shows the Events that the cluster has", test(function(c, ns, folder)
    allocator.configure(c, ns, {})
    local moonlb = allocator.start(c, ns, "--state-dir", folder)
    allocator.service(c, ns, "web", { ip = "224.0.0.7" })
    allocator.described(c, ns, "web", "AddressRefused")
    moonlb:stop()
    local report = explain(c, folder, ns, "web", "--offline")
    assert.equal("not-usable", report.diagnosis)
    assert.equal("AddressRefused", report.events[#report.events].reason)
  end))

  it("says that no server answers, or that the words make no sense", test(function(c, ns, folder)
    local result = program.run(program.moonlb(), { "explain", ns .. "/web", "--kubeconfig", "/nonexistent" },
      { env = { MOONLB_STATE_DIR = folder } })
    assert.same({ 2, "" }, { result.code, result.stdout })
    assert.matches("^moonlb explain: [^\n]+/nonexistent[^\n]*\n$", result.stderr)
    result = run(c, folder, "explain", "a/b/c")
    assert.equal(2, result.code)
    assert.matches("NAMESPACE/NAME", result.stderr)
  end))
end)

describe("moonlb doctor", function()
  it("asks the API server for each right, the ConfigMap, and the daemon", test(function(c, ns, folder)
    allocator.configure(c, ns, { ["range-global"] = "10.77.0.100" })
    local moonlb = allocator.start(c, ns, "--state-dir", folder)
    local result = run(c, folder, "doctor", "-o", "json", "--configmap-namespace", ns)
    local found = {}
    for _, it in ipairs(cjson.decode(result.stdout).findings) do found[it.check] = it end
    for _, name in ipairs({ "rbac", "configmap", "clock", "ready", "foreign-hosts" }) do
      assert.equal("ok", found[name].result, found[name].says)
    end
    moonlb:stop()
    c:run("-n", ns, "delete", "configmap", "kubevip")
    result = run(c, folder, "doctor", "--configmap-namespace", ns)
    assert.equal(1, result.code)
    assert.matches("fail +configmap +there is no ConfigMap " .. ns:gsub("%-", "%%-") .. "/kubevip", result.stdout)
    assert.matches("mend it: kubectl %-n " .. ns:gsub("%-", "%%-") .. " create configmap", result.stdout)
  end))
end)

describe("moonlb record dump", function()
  it("writes decisions with their traces, Events, and a capture file", test(function(c, ns, folder)
    allocator.configure(c, ns, { ["range-global"] = "10.77.0.100-10.77.0.110" })
    local moonlb = allocator.start(c, ns, "--state-dir", folder)
    for i = 1, 8 do allocator.service(c, ns, "web" .. i) end
    loop.until_true(function() return allocator.assigned(c, ns, "web8") ~= "" end, 20, "an address")
    local result = run(c, folder, "record", "dump", "--json", folder .. "/record.json", "--pcap", folder .. "/frames")
    assert.same({ 0, "", "" }, { result.code, result.stdout, result.stderr })
    local file <close> = assert(io.open(folder .. "/record.json"))
    local record = cjson.decode(file:read("a"))
    local decisions = {}
    for i, entry in ipairs(record.entries) do
      assert.equal(i, entry.sequence)
      if entry.kind == "decision" then decisions[entry.subject] = entry end
    end
    assert.equal("global_pool", decisions[ns .. "/web1"].rule)
    assert.is_truthy(decisions[ns .. "/web1"].trace[1].result)
    moonlb:stop()
    result = run(c, folder, "record", "dump")
    assert.equal(1, result.code)
    assert.matches("^moonlb record: no moonlb runs here", result.stderr)
  end))
end)
