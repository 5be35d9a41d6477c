-- The sentence of `moonlb explain`, for each way in which a Service has no address. Facts come from a real engine.
local allocation = require("moonlb.control.explain.allocation")
local cjson = require("cjson")
local engine = require("moonlb.allocator.engine")
local explain = require("moonlb.control.explain")
local explaining = require("spec.support.explaining")
local facts = require("moonlb.control.explain.facts")
local fields = require("moonlb.allocator.fields")
local json = require("moonlb.json")
local overwrites = require("moonlb.allocator.overwrites")
local page = require("moonlb.control.explain.text")
local pending = require("moonlb.control.explain.pending")
local policy_host = require("moonlb.policy.host")
local recorder = require("moonlb.recorder")
local unreachable = require("moonlb.control.explain.unreachable")

local configmap, service, of = explaining.configmap, explaining.service, explaining.of
local assert_says, POOL, STRANGER = explaining.assert_says, explaining.POOL, explaining.STRANGER

describe("explain: a Service without an address", function()
  it("that does not exist", function()
    assert_says("no-such-service", "there is no Service demo/web", "kubectl get svc -A", (of({}, POOL)))
  end)

  it("whose type is another", function()
    assert_says("not-a-load-balancer", "its type is NodePort", "kubectl -n demo patch svc web",
      (of({ service("web", { type = "NodePort" }) }, POOL)))
  end)

  it("of another class", function()
    assert_says("other-class", "its loadBalancerClass is io.cilium/node", "--lb-class-name io.cilium/node",
      (of({ service("web", { loadBalancerClass = "io.cilium/node" }) }, POOL)))
  end)

  it("without a class where one is asked for", function()
    assert_says("no-class", "it has no loadBalancerClass", "--lb-class-only false",
      (of({ service("web") }, POOL, { lb_class_only = true })))
  end)

  it("that is to be ignored", function()
    assert_says("ignored", fields.IGNORE, "annotate svc web kube-vip.io/ignore-",
      (of({ service("web", nil, { [fields.IGNORE] = "true" }) }, POOL)))
  end)

  it("that is being deleted, held by somebody's finalizer", function()
    assert_says("finalizer-stuck", "the finalizer example.com/mine", '{"metadata":{"finalizers":null}}',
      (of({ service("web", nil, nil, { deletionTimestamp = "2026-01-02T00:00:00Z",
        finalizers = { "example.com/mine" } }) }, POOL)))
  end)

  it("that is being deleted, with the finalizer that moonlb takes away", function()
    assert_says("finalizer-stuck", "moonlb is about to take its finalizer away", "wait a moment",
      (of({ service("web", nil, nil, { deletionTimestamp = "2026-01-02T00:00:00Z",
        finalizers = { fields.FINALIZER } }) }, POOL)))
  end)

  it("that is being deleted", function()
    assert_says("being-deleted", "its address is withdrawn", "wait",
      (of({ service("web", nil, nil, { deletionTimestamp = "2026-01-02T00:00:00Z" }) }, POOL)))
  end)

  it("for want of the ConfigMap", function()
    assert_says("no-configmap", "there is no ConfigMap kube-system/kubevip",
      "kubectl -n kube-system create configmap kubevip", (of({ service("web") })))
  end)

  it("for want of a pool", function()
    assert_says("no-pool", "no pool serves namespace demo", "range-demo=FIRST-LAST",
      (of({ service("web") }, { ["range-shop"] = "10.0.0.100-10.0.0.101" })))
  end)

  it("whose pool has only a bad item", function()
    assert_says("configmap-bad", '"10.0.0.300" is left out', "kubectl -n kube-system edit configmap kubevip",
      (of({ service("web") }, { ["range-global"] = "10.0.0.300" })))
  end)

  it("whose pool is full", function()
    local all = { service("web") }
    for i, ip in ipairs({ "10.0.0.100", "10.0.0.101" }) do
      all[i + 1] = service("other" .. i, nil, { [fields.ASSIGNED] = ip .. " default/global_pool" })
    end
    assert_says("pool-exhausted", "range-global is full: 2 of 2 IPv4 addresses used", "widen it in ConfigMap",
      (of(all, POOL)))
  end)

  it("whose pool has one address, and a stranger has it", function()
    assert_says("pool-blocked", "10.0.0.100 is quarantined until", "take that machine off the address",
      (of({ service("web"), service("other", nil, { ["moonlb.io/conflict"] = "10.0.0.100 " .. STRANGER
        .. " eth0 node1 2099-01-01T00:00:00Z" }) }, { ["range-global"] = "10.0.0.100" })))
  end)

  it("whose pool has one address, and the network needs it", function()
    assert_says("pool-blocked", "10.0.0.2 is excluded: address of node node1",
      "does not need itself: kubectl -n kube-system edit configmap kubevip",
      (of({ service("web") }, { ["range-global"] = "10.0.0.2" })))
  end)

  it("whose pool is full, one address of it by a stranger", function()
    local report = of({ service("web"), service("other", nil, { [fields.ASSIGNED] = "10.0.0.101 default/global_pool" }),
      service("third", { type = "LoadBalancer" }, { ["moonlb.io/conflict"] = "10.0.0.100 " .. STRANGER
        .. " eth0 node1 2099-01-01T00:00:00Z" }) }, POOL)
    assert_says("pool-exhausted", "2 of 2 IPv4 addresses used (10.0.0.100 is quarantined", "delete Services", report)
  end)

  it("whose namespace has an empty key", function()
    assert_says("pool-empty", "pool range-demo has no addresses: its key is empty, and keeps namespace demo away",
      "take the key away: kubectl -n kube-system edit configmap kubevip",
      (of({ service("web") }, { ["range-demo"] = "", ["range-global"] = "10.0.0.100" })))
  end)

  it("that asks for IPv4 and is IPv6 only", function()
    assert_says("request-family", "10.0.0.100 is IPv4, but the Service is IPv6 only",
      "kubectl -n demo annotate svc web --overwrite kube-vip.io/loadbalancerIPs=IPv6-ADDRESS",
      (of({ service("web", { ipFamilies = { "IPv6" }, loadBalancerIP = "10.0.0.100" }) }, POOL)))
  end)

  it("that asks for one address and requires two", function()
    assert_says("request-family", "RequireDualStack needs both families, but IPv6 is missing",
      "kube-vip.io/loadbalancerIPs=10.0.0.100,SECOND",
      (of({ service("web", { ipFamilyPolicy = "RequireDualStack", loadBalancerIP = "10.0.0.100" }) }, POOL)))
  end)

  it("that asks for DHCP and for a fixed address", function()
    assert_says("request-mixed", "0.0.0.0 and 10.0.0.100 together", "kube-vip.io/loadbalancerIPs=10.0.0.100",
      (of({ service("web", nil, { [fields.ADDRESSES] = "0.0.0.0,10.0.0.100" }) }, POOL)))
  end)

  it("that asks for DHCP of the wrong family", function()
    assert_says("request-dhcp-family", "is IPv6 only", "kube-vip.io/loadbalancerIPs=::",
      (of({ service("web", { ipFamilies = { "IPv6" }, loadBalancerIP = "0.0.0.0" }) }, POOL)))
    assert_says("request-dhcp-family", "is RequireDualStack", '"ipFamilyPolicy":"SingleStack"',
      (of({ service("web", { ipFamilyPolicy = "RequireDualStack", loadBalancerIP = "0.0.0.0" }) }, POOL)))
  end)

  it("whose family the pool lacks", function()
    assert_says("family-missing", "it wants IPv6, and pool range-global has no IPv6 addresses",
      "add a range of that family", (of({ service("web", { ipFamilies = { "IPv6" } }) }, POOL)))
  end)

  it("that asks for what another has", function()
    assert_says("held-by-other", "is held by Service demo/older", "moonlb explain demo/older",
      (of({ service("web", { loadBalancerIP = "10.0.0.100" }),
        service("older", nil, { [fields.ASSIGNED] = "10.0.0.100 default/static" }) }, POOL)))
  end)

  it("that asks for a node's own address", function()
    assert_says("excluded", "10.0.0.2, which it asks for, is the network's own: address of node node1",
      "ask for another address", (of({ service("web", { loadBalancerIP = "10.0.0.2" }) }, POOL)))
  end)

  it("that asks for a stranger's address", function()
    assert_says("quarantined", STRANGER .. " answered for it on eth0", "take that machine off",
      (of({ service("web", { loadBalancerIP = "10.0.0.100" }, {
        ["moonlb.io/conflict"] = "10.0.0.100 " .. STRANGER .. " eth0 node1 2099-01-01T00:00:00Z" }) }, POOL)))
  end)

  it("that asks for what is no address of a Service", function()
    assert_says("not-usable", "224.0.0.5 is no address for a Service", "unicast",
      (of({ service("web", { loadBalancerIP = "224.0.0.5" }) }, POOL)))
  end)

  it("that asks for what cannot be read", function()
    assert_says("bad-request", '"10.0.0" is', "as in 192.168.0.200",
      (of({ service("web", nil, { [fields.ADDRESSES] = "10.0.0" }) }, POOL)))
  end)

  it("whose changed request was refused: it keeps what it has", function()
    local report = of({ service("web", { loadBalancerIP = "10.0.0.2" }, {
      [fields.ASSIGNED] = "10.0.0.100 default/global_pool" }) }, POOL)
    assert_says("excluded", "10.0.0.2", "ask for another address", report)
    assert.same({ "10.0.0.100" }, { table.unpack(report.addresses) })
  end)

  it("because the API server refuses", function()
    local report = of({}, nil, nil, { forbidden = { { what = "read Services", message = "services is forbidden" } } })
    assert_says("forbidden", "moonlb may not read Services", "kubectl apply -f manifests/moonlb.yaml", report)
  end)

  it("because the API server does not answer", function()
    local report = of({}, nil, nil, { api = { message = "connection refused", reason = "ECONNREFUSED" } })
    assert_says("api-unreachable", "connection refused", "moonlb doctor", report)
  end)

  it("because nobody leads", function()
    local report = of({ service("web") }, POOL, nil, { lease = { spec = { holderIdentity = "" } } })
    assert_says("no-leader", "no allocator leads", "see Lease moonlb-allocator", report)
  end)

  it("that would be given one, and nobody has written it", function()
    local report = of({ service("web") }, POOL)
    assert_says("being-written", "10.0.0.100 would be given to it", "get pods", report)
  end)

  it("that is left alone since two controllers fight", function()
    local _, it = of({ service("web") }, POOL)
    it.allocator.paused = 300
    assert_says("two-allocators", "leaves it alone for 300 s more", "turn one of the two off", explain.report(it))
  end)

  it("since its write failed", function()
    local _, it = of({ service("web", nil, { [fields.ASSIGNED] = "10.0.0.100 default/global_pool" }) }, POOL)
    it.allocator.failure = { message = "admission webhook said no", reason = "Invalid" }
    assert_says("write-failed", "admission webhook said no", "tried again by itself", explain.report(it))
  end)

  it("with a moonlb that only announces", function()
    local _, it = of({ service("web") }, POOL)
    it.allocator = { is_here = false }
    assert_says("no-allocator", "this moonlb only announces", "--allocate", explain.report(it))
  end)
end)

describe("explain: leases, mappings and policies", function()
  local function with(change)
    local _, it = of({ service("web", nil, { [fields.ASSIGNED] = "10.0.0.100 default/global_pool",
      ["moonlb.io/claim"] = "3 node1", ["kube-vip.io/vipHost"] = "node1" }) }, POOL)
    change(it)
    return explain.report(it)
  end

  local LOST = { nak = "dhcp-nak", declined = "dhcp-declined", expired = "dhcp-expired" }
  for lost, code in pairs(LOST) do
    it("a lease that was lost: " .. lost, function()
      assert_says(code, "10.0.0.50", "", with(function(it)
        it.lease = { state = "init", lost = lost, lost_address = "10.0.0.50" }
      end))
    end)
  end

  it("a DHCP server that is silent", function()
    assert_says("dhcp-silent", "no server has answered on eth0", "DHCP server",
      with(function(it) it.lease = { state = "selecting", interface = "eth0" } end))
  end)

  it("a lease that is bound is no trouble", function()
    assert.equal("well", with(function(it)
      it.lease = { state = "bound", server = "10.0.0.1", address = "10.0.0.50" }
    end).diagnosis)
  end)

  local function mapping(values)
    values.service, values.address, values.port, values.protocol = "demo/web", "10.0.0.100", 443, "TCP"
    return with(function(it) it.mappings = { values } end)
  end

  it("a port that the router gave to another", function()
    assert_says("upnp-failed", "port 443/TCP is not open on the router", "--upnp-any-port",
      mapping({ state = "failed", gateway = "10.0.0.1", reason = "718 ConflictInMappingEntry" }))
  end)

  it("a router that refuses", function()
    assert_says("upnp-failed", "606", "secure mode",
      mapping({ state = "failed", gateway = "10.0.0.1", reason = "606 Action not authorized" }))
  end)

  it("no router at all", function()
    assert_says("upnp-no-gateway", "no router was found", "switch UPnP", mapping({ state = "waiting" }))
  end)

  it("a router behind a router", function()
    assert_says("double-nat", "100.64.0.5 is no public address", "public address",
      mapping({ state = "mapped", gateway = "10.0.0.1", double_nat = "100.64.0.5 is no public address" }))
  end)
end)

describe("explain: what a running allocator knows", function()
  local host, brain, clock

  -- A policy that answers as told, asked by a real engine; `rehearse` where it has dry runs of its own.
  local function with_policy(outcome, rehearse)
    clock = 1000.5
    host = policy_host.new({ fallback = "pending", now = function() return clock end })
    brain = engine.new({ settings = { configmap = "kube-system/kubevip" }, host = host })
    assert(host:load("team", "", "team.lua", { load = function() return { rules = { "it" } } end,
      forget = function() end, decide = outcome, rehearse = rehearse }))
    brain:set_configmap(configmap({ ["range-global"] = "10.0.0.100", policy = "team" }))
    brain:set_service(service("web"))
  end

  local function ask(change)
    local it = { key = "demo/web", source = "daemon", node = "node1", walltime = 0, ingress = {}, unknown = {},
      service = service("web"), allocator = { is_here = true, is_leading = true, leader = "node1_1" } }
    allocation.add(it, brain, "demo/web")
    if change then change(it) end
    return explain.report(it)
  end

  -- The same of a daemon with that allocator.
  local function of_daemon(parts, daemon)
    local allocator = { engine = brain, failures = {},
      overwrites = overwrites.new({ now = function() return clock end }),
      ready = function() return true end, leading = function() return true end,
      election = { name = "moonlb-allocator", holder = function() return "node1_1" end } }
    for name, value in pairs(parts or {}) do allocator[name] = value end
    local it = { settings = { node_name = "node1" }, allocator = allocator,
      services = { get = function() return service("web") end },
      connection = { client = { list = function() return nil, "no API here" end } } }
    for name, value in pairs(daemon or {}) do it[name] = value end
    return function() return explain.report(facts.of_daemon(it, "demo/web")), allocator end
  end

  it("a policy that failed: where, and why", function()
    with_policy(function() return { kind = "error", reason = "attempt to index nil", rule = "it", line = 7,
      file = "team.lua", trace = {} } end)
    assert_says("policy-failed", "attempt to index nil", "moonlb plan --policy team.lua", ask())
  end)

  it("a policy that failed too often and rests", function()
    with_policy(function() return { kind = "error", reason = "attempt to index nil", rule = "it", line = 7,
      file = "team.lua", trace = {} } end)
    for _ = 1, 20 do brain:decide("demo/web") end
    clock = clock + 2.625	-- clocks do not stop at whole seconds
    assert.is_truthy(host:benched("team"))
    assert_says("policy-benched", "policy team failed too often and rests for 8 s more", "mend it", ask())
  end)

  it("leaves no mark: nothing is counted, nobody is benched or forgiven, nobody outside is asked", function()
    local asked = {}
    with_policy(function() error("the policy is asked in earnest") end, function(_, name, requests)
      asked[#asked + 1] = name .. " " .. requests[1].key
      return { { kind = "error", reason = "attempt to index nil", rule = "it", trace = {} } }
    end)
    for _ = 1, 20 do assert_says("policy-failed", "attempt to index nil", "mend it", ask()) end
    assert.equal("team demo/web", asked[20])
    assert.same({ nil, nil, nil }, { host.failures.team, host:benched("team"), host.durations.team })
  end)

  it("a policy that failed before is not forgiven by a look", function()
    local outcome = { kind = "error", reason = "attempt to index nil", rule = "it", trace = {} }
    with_policy(function() return outcome end)
    for _ = 1, 4 do brain:decide("demo/web") end
    outcome = { kind = "refuse", reason = "no", rule = "it", trace = {} }
    ask()
    outcome = { kind = "error", reason = "attempt to index nil", rule = "it", trace = {} }
    brain:decide("demo/web")
    assert.is_truthy(host:benched("team"))
  end)

  it("a policy that failed: the place once, and the file where it is", function()
    with_policy(function() return { kind = "error", reason = "/policies/team.lua:7: attempt to index nil", rule = "it",
      line = 7, file = "/policies/team.lua", trace = {} } end)
    assert_says("policy-failed", "policy team failed: /policies/team.lua:7: attempt to index nil", "mend it", ask())
  end)

  -- As the folder of policies has it.
  local function store_of(policies) return { folder = { path = "/etc/policies" }, policies = policies } end

  it("a policy that is nowhere: where it was looked for, and what there is", function()
    with_policy(function() end)
    host:forget("team")
    assert_says("policy-missing", "there is no policy team: neither in /etc/policies (blue, red) nor in moonlb itself",
      "put it there as team.lua, or choose another by the key policy of the ConfigMap: kubectl -n kube-system edit",
      (of_daemon(nil, { policies = store_of({ red = {}, blue = {} }) })()))
  end)

  it("a policy whose file is refused: where and why", function()
    with_policy(function() end)
    host:forget("team")
    local store = store_of({ team = { file = "/etc/policies/team.lua",
      error = "/etc/policies/team.lua:3: '=' expected" } })
    assert_says("policy-bad", "policy team is not in use: /etc/policies/team.lua:3: '=' expected",
      "moonlb plan --policy /etc/policies/team.lua", (of_daemon(nil, { policies = store })()))
  end)

  it("an address whose policy is gone: all is well, with a note", function()
    with_policy(function() end)
    host:forget("team")
    local owned = service("web", nil, { [fields.ASSIGNED] = "10.0.0.100 team/it" })
    brain:set_service(owned)
    local report = of_daemon(nil, { policies = store_of({}), announcer_error = "none",
      services = { get = function() return owned end } })()
    assert.matches("^there is no policy team: neither in /etc/policies %(empty%)", report.notes[1])
    assert.is_truthy(page.page(report, false):find("\nnote: there is no policy team", 1, true))
  end)

  it("an address that was given back rests before it is given anew", function()
    with_policy(function() end)
    brain:set_configmap(configmap({ ["range-global"] = "10.0.0.100" }))
    brain:set_service(service("other", nil, { [fields.ASSIGNED] = "10.0.0.100 default/global_pool" }))
    brain:remove_service("demo/other")
    assert_says("pool-rests", "rests before it is given anew", "wait a minute", ask())
  end)

  it("a policy that refuses: its rule and its words", function()
    with_policy(function() return { kind = "refuse", reason = "team demo has no budget", rule = "it", trace = {
      { rule = "it", result = "refuse", reason = "team demo has no budget" } } } end)
    local report = ask()
    assert_says("policy-refused", "rule it of policy team refused: team demo has no budget", "the trace below", report)
    assert.matches("it +refuse +team demo has no budget", page.page(report, false))
  end)

  it("an edit that a policy refuses", function()
    with_policy(function() return { kind = "refuse", reason = "not yours", rule = "it", trace = {} } end)
    brain:set_service(service("web", { loadBalancerIP = "10.0.0.100" }, {
      [fields.ASSIGNED] = "10.0.0.101 default/static" }))
    assert_says("edit-refused", "was refused (not yours); it keeps 10.0.0.101", "take the change back", ask())
  end)

  it("two controllers that fight, by a clock that does not stop at whole seconds", function()
    with_policy(function() return { kind = "refuse", reason = "no", rule = "it", trace = {} } end)
    local report = of_daemon()
    local _, allocator = report()
    allocator.overwrites:halt("demo/web")
    clock = clock + 12.625
    assert_says("two-allocators", "leaves it alone for 588 s more", "turn one of the two off", (report()))
  end)

  it("a policy that asks outside: what it said in earnest, for a look asks nobody", function()
    with_policy(function() error("nobody is to be asked") end, function()
      return { { kind = "error", reason = "nobody is asked here", is_from_outside = true, rule = "it", trace = {} } }
    end)
    local report = of_daemon()
    recorder.clear()
    assert_says("policy-asks-outside", "policy team asks others before it decides", "wait a moment", (report()))
    recorder.note("decision", "demo/web", { action = "pending", addresses = "", rule = "it", policy = "team",
      message = "the IPAM has no record of it", trace = { { rule = "it", result = "refuse", reason = "no record" } } })
    assert_says("policy-refused", "rule it of policy team refused: the IPAM has no record of it", "", (report()))
    recorder.clear()
  end)

  it("an allocator that does not know all yet", function()
    with_policy(function() return { kind = "use", addresses = { "10.0.0.100" }, rule = "it", trace = {} } end)
    assert_says("not-synced", "nodes: not listed yet", "moonlb doctor", ask(function(it)
      it.allocator.missing = "nodes: not listed yet"
    end))
    assert_says("being-written", "10.0.0.100 is decided for it and about to be written by the leader, node1_1",
      "wait a moment", ask())
  end)
end)

describe("explain.CODES", function()
  it("are all in these specs: each way to be pending or unreachable has its case", function()
    local text = ""
    for _, name in ipairs({ "explain_spec", "explain_offline_spec", "explain_announcer_spec" }) do
      local file <close> = assert(io.open("spec/unit/" .. name .. ".lua"))
      text = text .. file:read("a")
    end
    for _, code in ipairs(explain.CODES) do assert.is_truthy(text:find('"' .. code .. '"', 1, true), code) end
    assert.is_true(#explain.CODES >= 50)
  end)
end)

describe("explain.report", function()
  it("goes as JSON, empty arrays included, and as a page whose first line is the sentence", function()
    local report = of({ service("web", { loadBalancerIP = "10.0.0.2" }) }, POOL)
    local decoded = cjson.decode(json.encode(report))
    assert.equal(report.sentence, decoded.sentence)
    assert.equal("excluded", decoded.diagnosis)
    assert.is_truthy(json.encode(report):find('"addresses":[]', 1, true))
    local text = page.page(report, false)
    assert.equal(report.sentence, text:match("^[^\n]+"))
    assert.matches("RULE +RESULT +WHY\nstatic +refuse", text)
    assert.matches("POOL.*range%-global +IPv4 +0 +2 +0 %%", text)
    assert.matches("QUALIFIES", text)
  end)

  it("is one line of printable text, whatever a Service says", function()
    local report = of({ service("web", nil, { [fields.ADDRESSES] = "10.0.0\n\27[31m" }) }, POOL)
    assert.is_nil(report.sentence:find("%c"))
    assert.is_nil(page.page(report, false):gsub("\n", ""):find("%c"))
  end)

  it("has a code of its own for each diagnosis", function()
    local seen = {}
    for _, code in ipairs(explain.CODES) do
      assert.is_nil(seen[code], code)
      seen[code] = true
    end
    assert.equal(#pending + #unreachable + 1, #explain.CODES)
  end)
end)
