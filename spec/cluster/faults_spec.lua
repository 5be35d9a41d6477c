-- What an API server, or the network before it, may do to the allocator. Faults need the embedded API.
local allocator = require("spec.support.allocator")
local client = require("moonlb.kube.client")
local informer = require("moonlb.kube.informer")
local kube = require("moonlb.core.kube")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")
local uv = require("luv")

local POOL = { ["cidr-global"] = "10.77.0.0/24" }
local SERVICES = "/api/v1/services"
local SERVICE = "/api/v1/namespaces/*/services/*"

-- moonlb runs and has served one Service; then the fault, then another Service.
local function after(faults, check)
  return kubernetes.test(function(c)
    c:needs("faults", pending)
    local ns = c:namespace()
    allocator.configure(c, ns, POOL)
    local moonlb = allocator.start(c, ns)
    allocator.service(c, ns, "one")
    allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
    for _, rule in ipairs(faults) do c.faults(rule) end
    allocator.service(c, ns, "two")
    allocator.expect(c, ns, "two", "10.77.0.2", "global_pool")
    if check then check(c, ns, moonlb) end
    assert.is_nil(moonlb.process.code)
  end)
end

-- The second address counts as given once, its Event is there, and nothing stays reserved beside it.
local function is_written(c, ns, moonlb)
  moonlb:says("msg=service action=assign addresses=10.77.0.2")
  allocator.described(c, ns, "two", "AddressAssigned.-10%.77%.0%.2 assigned")
  allocator.service(c, ns, "three")
  allocator.expect(c, ns, "three", "10.77.0.3", "global_pool")
  local log = moonlb.process.out .. moonlb.process.err
  assert.equal(1, select(2, log:gsub("msg=service action=assign addresses=10%.77%.0%.2", "")))
end

describe("a write that", function()
  it("meets 409 is decided anew", after({ { action = "status", method = "PATCH", path = SERVICE, code = 409 } },
    is_written))
  it("meets 429 is sent again when the server says", after({ { action = "status", method = "PATCH", path = SERVICE,
    code = 429, retryAfter = 1 } }, is_written))
  it("meets 500 is sent again", after({ { action = "status", method = "PATCH", path = SERVICE, code = 500 } },
    is_written))
  it("was carried out although 500 was answered is recognized", after({ { action = "status", method = "PATCH",
    path = SERVICE, code = 500, late = true } }, is_written))
  it("was cut off is sent again", after({ { action = "drop", method = "PATCH", path = SERVICE } }, is_written))
  it("was carried out although its connection was cut is recognized", after({ { action = "drop", method = "PATCH",
    path = SERVICE, late = true } }, is_written))
  it("meets several troubles in a row gets through", after({
    { action = "status", method = "PATCH", path = SERVICE, code = 409, count = 3 },
    { action = "html", method = "PATCH", path = SERVICE, code = 502, count = 2 },
  }, is_written))
end)

describe("a watch that", function()
  it("is cut goes on", after({ { action = "dropWatches" } }))
  it("ends goes on", after({ { action = "endWatches" } }))
  it("meets 410 lists again", after({ { action = "endWatches" }, { action = "compact" } }))
  it("meets 410 in its second list's watch too lists again", after({ { action = "compact" },
    { action = "status", verb = "watch", path = SERVICES, code = 410 }, { action = "dropWatches" } }))
  it("gets a web page instead of events lists again", after({ { action = "html", verb = "watch", path = SERVICES,
    count = 2 }, { action = "dropWatches" } }))
  it("is throttled waits", after({ { action = "status", verb = "watch", path = SERVICES, code = 429, retryAfter = 1 },
    { action = "dropWatches" } }))
end)

describe("a watch that goes silent for ever", function()
  it("is replaced when it does not show our own write", kubernetes.test(function(c)
    c:needs("faults")
    local ns = c:namespace()
    local core = assert(kube.client({ server = c.server }))
    local api = client.new(core)
    local store = informer.new({ client = api, path = SERVICES, dead_after = 0.3 })
    store:start()
    assert(store:wait_synced(10))
    allocator.service(c, ns, "one")
    loop.until_true(function() return store:get(ns .. "/one") end, 10, "the first Service")
    c.faults({ action = "freezeWatches" })
    allocator.service(c, ns, "two")
    store:absorb(assert(api:merge_patch(("/api/v1/namespaces/%s/services/one"):format(ns),
      { metadata = { annotations = { ours = "x" } } })))
    assert.is_nil(store:get(ns .. "/two"))
    loop.until_true(function() return store:get(ns .. "/two") end, 10, "the Service that the silent watch kept back")
    assert.equal(1, store.lists)
    store:stop()
    core:close()
  end))
end)

describe("a start at which", function()
  local function start(faults, log)
    return kubernetes.test(function(c)
      c:needs("faults", pending)
      local ns = c:namespace()
      allocator.configure(c, ns, POOL)
      allocator.service(c, ns, "one")
      for _, rule in ipairs(faults) do c.faults(rule) end
      local moonlb = allocator.launch(c, ns)
      if log then moonlb:says(log) end
      allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
    end)
  end

  it("the list is a web page succeeds later", start({ { action = "html", verb = "list", path = SERVICES, count = 2 } },
    "the answer is no JSON object"))
  it("the list is cut in half succeeds later", start({ { action = "truncate", verb = "list", path = SERVICES } }))
  it("a right is missing says verb and resource, and succeeds once it is there", start({ { action = "status",
    verb = "list", path = SERVICES, code = 403 } }, "Forbidden"))
  it("rights for Nodes and for Events are missing says both, and gives addresses", kubernetes.test(function(c)
    c:needs("faults", pending)
    local ns = c:namespace()
    allocator.configure(c, ns, POOL)
    c.faults({ action = "status", verb = "list", path = "/api/v1/nodes", code = 403, count = 1000 })
    c.faults({ action = "status", method = "POST", path = "/api/v1/namespaces/*/events", code = 403, count = 1000 })
    local moonlb = allocator.launch(c, ns)
    allocator.service(c, ns, "one")
    allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
    moonlb:says("informer=nodes")
    moonlb:says("an Event was not written")
    assert.matches("informer=nodes[^\n]*reason=Forbidden", moonlb.process.out .. moonlb.process.err)
    assert.matches("an Event was not written[^\n]*reason=Forbidden", moonlb.process.out .. moonlb.process.err)
  end))
  it("the Lease cannot be read succeeds later", start({ { action = "status", verb = "get",
    path = "/apis/coordination.k8s.io/*", code = 500, count = 2 } }, "leader election"))

  it("no API server is there yet waits for it", loop.test(function()
    if os.getenv("MOONLB_CLUSTER") == "real" then pending("only the embedded API starts on a port chosen before") end
    local probe = uv.new_tcp()
    probe:bind("127.0.0.1", 0)
    local port = probe:getsockname().port
    probe:close()
    local home = assert(uv.fs_mkdtemp("/tmp/moonlb-spec-XXXXXX"))
    local path = home .. "/kubeconfig"
    local file = assert(io.open(path, "w"))
    file:write(("apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x}}]\n"
      .. "clusters: [{name: x, cluster: {server: \"http://127.0.0.1:%d\"}}]\n"):format(port))
    file:close()
    local moonlb = allocator.launch({ kubeconfig = path, processes = {} }, "kube-system")
    moonlb:says("ECONNREFUSED")
    local c = kubernetes.start({ port = port })
    local ok, err = pcall(moonlb.says, moonlb, "msg=allocating")
    moonlb.process:kill("sigterm")
    moonlb.process:wait(20)
    c:stop()
    uv.fs_unlink(path)
    uv.fs_rmdir(home)
    if not ok then error(err, 0) end
    assert.equal(0, moonlb.process.code)
  end, 60))
end)
