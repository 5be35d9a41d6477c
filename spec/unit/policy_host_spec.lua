--- The policy host: loads policies, checks what they decide, falls back when they fail.
local allocation = require("spec.support.allocation")
local engine = require("moonlb.allocator.engine")
local policy_host = require("moonlb.policy.host")
local policy_tests = require("moonlb.policy.tests")

local service = allocation.service

local function fixture(options)
  options = options or {}
  local clock = { now = 0 }
  local function now() return clock.now end
  local host = policy_host.new({ now = now, fallback = options.fallback })
  local brain = engine.new({ now = now, utc = now, host = host, settings = { policy = "team" } })
  brain:set_configmap(allocation.configmap(options.data or { ["cidr-global"] = "10.0.0.0/29" }))
  brain:set_service(service("a/used", { assigned = "10.0.0.1 default/global_pool" }))
  local spec = { ipFamilies = { "IPv4" } }
  for name, value in pairs(options.spec or {}) do spec[name] = value end
  brain:set_service(service("a/web", { created = 9, spec = spec, request = options.request, ports = options.ports }))
  return brain, host, clock
end

local function body(text)
  return "return { api = 1, rules = { function(service, cluster)\n" .. text .. "\nend } }"
end

-- A back end that says what it is told to.
local function backend_of(outcome)
  local backend = { told = {}, asked = {} }
  function backend.load() return { rules = { "it" } } end
  function backend.forget() end
  function backend.feed(_, operation) table.insert(backend.told, operation) end
  function backend.decide(_, name, request)
    table.insert(backend.asked, { name, request })
    if type(outcome) == "function" then return outcome() end
    return allocation.copy(outcome)
  end
  return backend
end

local function decide_outcome(outcome, options)
  local brain, host = fixture(options)
  assert(host:load("team", "", "team.lua", backend_of(outcome)))
  return brain:decide("a/web")
end

describe("Host:load", function()
  local cases = {
    ["nothing"] = { "", "a policy returns a table, not nil" },
    ["no table"] = { "return 42", "a policy returns a table, not number" },
    ["another level"] = { "return { api = 99, rules = { function() end } }", "api = 99: this moonlb has" },
    ["no level"] = { "return { rules = { function() end } }", "api = nil" },
    ["no rules"] = { "return { api = 1 }", "rules: a list of functions expected" },
    ["empty rules"] = { "return { api = 1, rules = {} }", "rules: a list of functions expected" },
    ["a rule that is none"] = { "return { api = 1, rules = { function() end, 'x' } }", "rules[2] is a string" },
    ["a misspelt stock rule"] = { "return { api = 1, rules = { rule.statik } }", "rules: a list of functions" },
    ["a place that is none"] = { "return { api = 1, rules = { function() end }, place = 1 }", "place is no function" },
    ["a syntax error"] = { "return {\n api = = 1 }", "team.lua:2: unexpected symbol" },
    ["an error"] = { "\n\nerror('oops')", "team.lua:3: oops" },
    ["an error that is no text"] = { "error({})", "raised a table" },
    ["a table that answers for itself"] = { "return setmetatable({}, { __index = function() while true do end end })",
      "a policy returns a plain table" },
    ["bytecode"] = { string.dump(function() return {} end), "attempt to load a binary chunk" },
    ["io"] = { "io.open('/etc/passwd')", "global 'io'" },
    ["a text that is too long"] = { ("-"):rep(2 << 20), "at most" },
  }
  for what, case in pairs(cases) do
    it("refuses " .. what .. ", saying so", function()
      local host = policy_host.new({})
      local loaded, message = host:load("team", case[1], "team.lua")
      assert.is_nil(loaded)
      assert.truthy(message:find(case[2], 1, true), message)
      assert.is_nil(host:policy("team"))
    end)
  end

  it("takes Windows line ends and a byte order mark", function()
    local text = "\239\187\191return {\r\n api = 1,\r\n rules = { rule.static } }\r\n"
    assert(policy_host.new({}):load("team", text, "team.lua"))
  end)

  it("keeps the old one when the new one is bad", function()
    local brain, host = fixture()
    assert(host:load("team", body("return use('192.0.2.1')"), "team.lua"))
    assert.is_nil((host:load("team", "nonsense", "team.lua")))
    assert.same({ "192.0.2.1" }, brain:decide("a/web").addresses)
    assert(host:load("team", body("return use('192.0.2.2')"), "team.lua"))
    assert.same({ "192.0.2.2" }, brain:decide("a/web").addresses)
  end)

  it("forgets", function()
    local brain, host = fixture()
    assert(host:load("team", body("return use('192.0.2.1')"), "team.lua"))
    host:forget("team")
    assert.equal("there is no policy of that name", brain:decide("a/web").failure.reason)
  end)
end)

describe("the check", function()
  local cases = {
    ["another's address"] = { { "10.0.0.1" }, "10.0.0.1 is held by Service a/used" },
    ["loopback"] = { { "127.0.0.1" }, "loopback" },
    ["multicast"] = { { "224.0.0.1" }, "multicast" },
    ["broadcast"] = { { "255.255.255.255" }, "broadcast" },
    ["unspecified"] = { { "0.0.0.0" }, "unspecified" },
    ["the wrong family"] = { { "fd00::1" }, "IPv6" },
    ["a text that is no address"] = { { "10.5.0.9; rm" }, "is not an address" },
    ["no address"] = { {}, "a decision without addresses" },
    ["twice the same"] = { { "192.0.2.1", "192.0.2.1" }, "is there twice" },
    ["a number"] = { { 42 }, "an address that is a number" },
    ["an excluded one"] = { { "10.0.0.2" }, "excluded: gateway" },
  }
  for what, case in pairs(cases) do
    it("refuses " .. what .. "; the Service stays pending, and nobody falls back", function()
      local brain, host = fixture()
      brain:exclude("10.0.0.2", "gateway")
      local outcome = { kind = "use", addresses = case[1], rule = "it", line = 7 }
      assert(host:load("team", "", "team.lua", backend_of(outcome)))
      local decision = brain:decide("a/web")
      assert.equal("pending", decision.action)
      assert.truthy(decision.failure.reason:find(case[2], 1, true), decision.failure.reason)
      local failure = decision.failure
      assert.same({ "team", "it", "team.lua:7" }, { failure.policy, failure.rule, failure.where })
      local events = brain:reconcile("a/web").events
      assert.equal("PolicyFailed", events[1].reason)
      assert.truthy(events[1].message:find("^policy team %(team.lua:7, rule it%): "), events[1].message)
    end)
  end

  it("refuses more addresses than can be, and addresses that are no list", function()
    local many = {}
    for i = 1, 100 do many[i] = "192.0.2." .. i end
    assert.truthy(decide_outcome({ kind = "use", addresses = many }).failure.reason:find("more than", 1, true))
    assert.truthy(decide_outcome({ kind = "use", addresses = "x" }).failure.reason:find("without addresses", 1, true))
  end)

  it("lets share only what somebody holds and allows", function()
    local function shared(address, allow, ports)
      return decide_outcome({ kind = "share", addresses = { address } }, { ports = ports,
        data = { ["cidr-global"] = "10.0.0.0/29", ["allow-share-global"] = allow } })
    end
    assert.equal("share", shared("10.0.0.1", "true", { 443 }).action)
    assert.truthy(shared("10.0.0.1", "true", { 80 }).failure)
    assert.truthy(shared("10.0.0.1", "false", { 443 }).failure)
    assert.truthy(shared("10.0.0.2", "true", { 443 }).failure.reason:find("nobody holds", 1, true))
  end)

  it("refuses DHCP for a Service that is IPv6 only", function()
    assert.truthy(decide_outcome({ kind = "dhcp" }, { spec = { ipFamilies = { "IPv6" } } }).failure)
    assert.equal("dhcp", decide_outcome({ kind = "dhcp" }).action)
  end)

  it("lets a Service that is IPv6 only ask for DHCPv6 by ::", function()
    local decision = decide_outcome({ kind = "dhcp" }, { spec = { ipFamilies = { "IPv6" }, loadBalancerIP = "::" } })
    assert.same({ "dhcp", { "::" } }, { decision.action, decision.addresses })
  end)

  it("takes no trust in what a decision claims to be", function()
    local decision = decide_outcome({ kind = "give", addresses = { "192.0.2.1" } })
    assert.equal("an outcome of no known kind", decision.failure.reason)
    assert.same({ "10.0.0.2" }, decision.addresses)
  end)
end)

describe("Host:place", function()
  local function place(backend, text)
    local brain, host = fixture()
    for _, name in ipairs({ "n1", "n2", "n3", "n4" }) do brain:set_node(allocation.node(name, "10.0.1.1")) end
    assert(host:load("team", text or "", "team.lua", backend))
    return brain:reconcile("a/web").patch.metadata.annotations["moonlb.io/place"]
  end

  it("writes names of nodes that there are, each once and three at most, whatever a back end says", function()
    local backend = backend_of({ kind = "use", addresses = { "192.0.2.1" } })
    backend.load = function() return { rules = { "it" }, has_place = true } end
    backend.place = function() return { "no such\n\255,n1", 7, "n4", {}, "n2", "n4", "n3", "n1" } end
    assert.equal("n4,n2,n3", place(backend))
    backend.place = function() return { "x\1y" } end
    assert.is_nil(place(backend))
  end)

  it("is not led astray by what a policy of this process does to the nodes", function()
    assert.equal("n2", place(nil, [[return { api = 1, rules = { rule.global_pool }, place = function(_, nodes)
      nodes[1].name = "evil,\n" return { "evil,\n", nodes[1], "n2" } end }]]))
  end)
end)

describe("an outcome from another process", function()
  it("may be anything: what is not expected is dropped, or an error", function()
    for _, hostile in ipairs({ 42, "x", true, {}, { kind = {} }, { kind = "use" },
      { kind = "use", addresses = { {}, {} } },
      { kind = "pass", trace = { 1, "x", { result = {} }, { result = "pass", rule = {}, reason = {} } } },
      { kind = "refuse", reason = {}, rule = {}, line = {}, exhausted = { {}, 1 }, log = { {}, 2 } },
      { kind = "pass", exhausted = { { pool = "p", family = 5, used = 1, size = 2 } } },
      { kind = "refuse", exhausted = { { pool = "p", family = 4, used = 0 / 0, size = 2 } } },
      { kind = "pass", exhausted = { { pool = "p", family = 6, used = 2.0 ^ 70, size = math.huge } } },
      { kind = "pass", exhausted = { { pool = "p", family = 6, used = 2.0 ^ 70, size = 2.0 ^ 70 } } },
      { kind = "pass", exhausted = { { pool = "p", family = 6, used = 1, size = -1 } } },
      { kind = "error", reason = {} }, { kind = "error", reason = ("x"):rep(100000) },
      { kind = "dhcp", hostname = ("x"):rep(100000) },
      { kind = "use", addresses = { "192.0.2.1" }, rule = "a b\n" } }) do
      local brain, host = fixture()
      assert(host:load("team", "", "team.lua", backend_of(function() return hostile end)))
      local result = brain:reconcile("a/web")
      assert.truthy(result.decision.action)
      for _, event in ipairs(result.events) do assert.is_true(#event.message < 1200) end
    end
  end)

  it("cannot write what it likes into the annotation", function()
    local brain, host = fixture()
    assert(host:load("team", "", "team.lua", backend_of({ kind = "use", addresses = { "192.0.2.1" }, rule = "x y/z" })))
    assert.equal("192.0.2.1 team/unnamed",
      brain:reconcile("a/web").patch.metadata.annotations["moonlb.io/assigned"])
  end)
end)

describe("State:replay", function()
  it("leads to the same state", function()
    local state = require("moonlb.allocator.state")
    local brain = fixture({ request = "192.0.2.7" })
    brain:set_node(allocation.node("n1", "10.0.0.3"))
    brain:exclude("10.0.0.4", "x")
    brain:reserve("a/web", { addresses = { "192.0.2.7" } })
    local function zero() return 0 end
    local replica = state.new({ settings = {}, now = zero, utc = zero })
    brain.state:replay(function(operation, ...) replica[operation](replica, ...) end)
    assert.same(brain.state.ownership.taken:ranges(), replica.ownership.taken:ranges())
    assert.same(brain.state.services["a/web"].holds, replica.services["a/web"].holds)
    assert.equal(brain.state:count("a"), replica:count("a"))
  end)
end)

describe("State:reserve", function()
  it("counts the Service where its address is meant to live, until it is given up", function()
    local brain = fixture()
    for _, name in ipairs({ "n1", "n2" }) do brain:set_node(allocation.node(name)) end
    local function services()
      local nodes = brain.state:list_nodes()
      return nodes[1].services, nodes[2].services
    end
    brain:reserve("a/web", { addresses = { "10.0.0.2" }, place = { "n2", "n1" } })
    assert.same({ 0, 1 }, { services() })
    brain:release("a/web")
    assert.same({ 0, 0 }, { services() })
  end)
end)

describe("State:set_aside", function()
  it("is as if the Service had just been made, and leaves nothing behind", function()
    local brain = fixture()
    local all = brain.state
    all.pools:global():free({ record = all.services["a/web"] })	-- from here on its endings are in the set
    local ranges, count = all.ownership.taken:ranges(), all:count("a")
    local record = all:set_aside("a/used")
    assert.is_nil(record.assigned)
    assert.is_false(all.ownership:is_held("10.0.0.1"))
    assert.equal("10.0.0.1", all.pools:global():free({ record = record })[1])
    assert.equal(count - 1, all:count("a"))
    assert.equal("a/used", all:put_back().key)
    assert.same(ranges, all.ownership.taken:ranges())
    assert.equal(count, all:count("a"))
    assert.equal("keep", brain:decide("a/used").action)
  end)
end)

describe("a policy that fails", function()
  local failures = {
    ["raises"] = { "error('oops')", "team.lua:2: oops" },
    ["raises a table"] = { "error({ 1 })", "raised a table" },
    ["returns text"] = { "return '10.0.0.9'", "returned a string, not a decision" },
    ["returns a table"] = { "return { kind = 'use', addresses = { '10.0.0.9' } }", "returned a table, not a decision" },
    ["returns a cyclic table"] = { "local t = {} t.t = t return t", "returned a table, not a decision" },
    ["returns true"] = { "return true", "returned a boolean, not a decision" },
    ["uses nothing"] = { "return use(nil)", "use: an address or a list of addresses expected, got nil" },
    ["uses an empty list"] = { "return use({})", "use: an address expected" },
    ["looks into a decision"] = { "return use(use('10.0.0.9').addresses)", "a decision has no fields" },
    ["changes a decision"] = { "local d = use('10.0.0.9') d.addresses = {} return d", "a decision cannot be changed" },
  }
  for what, case in pairs(failures) do
    it("because it " .. what .. " is told with file and line; the stock policy decides", function()
      local brain, host = fixture()
      assert(host:load("team", body(case[1]), "team.lua"))
      local decision = brain:decide("a/web")
      assert.same({ "assign", { "10.0.0.2" }, "default" }, { decision.action, decision.addresses, decision.policy })
      assert.truthy(decision.failure.reason:find(case[2], 1, true), decision.failure.reason)
      assert.equal("team.lua:1", decision.failure.where)
    end)
  end

  it("cannot use a decision made for another Service", function()
    local brain, host = fixture()
    assert(host:load("team", "local kept\nreturn { api = 1, rules = { function() kept = kept or use('192.0.2.1') "
      .. "return kept end } }", "team.lua"))
    assert.same({ "192.0.2.1" }, brain:decide("a/web").addresses)
    assert.truthy(brain:decide("a/web").failure)
  end)

  it("leaves the Service pending where that is wanted", function()
    local brain, host = fixture({ fallback = "pending" })
    assert(host:load("team", body("error('oops')"), "team.lua"))
    local decision = brain:decide("a/web")
    assert.same({ "pending", "team.lua:2: oops" }, { decision.action, decision.reason })
  end)

  it("never moves a Service that has an address", function()
    local brain, host = fixture()
    assert(host:load("team", body("error('oops')"), "team.lua"))
    assert.equal("keep", brain:decide("a/used").action)
  end)

  it("is benched after five failures in a row, asked again later, and for longer each time", function()
    local brain, host, clock = fixture()
    local backend = backend_of({ kind = "error", reason = "killed" })
    assert(host:load("team", "", "team.lua", backend))
    for _ = 1, 20 do assert.same({ "10.0.0.2" }, brain:decide("a/web").addresses) end
    assert.equal(5, #backend.asked)
    assert.equal(10, host:benched("team"))
    clock.now = 11
    for _ = 1, 20 do brain:decide("a/web") end
    assert.equal(6, #backend.asked)
    assert.equal(20, host:benched("team"))
    assert(host:load("team", "", "team.lua", backend_of({ kind = "use", addresses = { "192.0.2.1" } })))
    assert.is_nil(host:benched("team"))
    assert.same({ "192.0.2.1" }, brain:decide("a/web").addresses)
  end)

  it("is not benched for failures between which it succeeds", function()
    local brain, host = fixture()
    local count = 0
    assert(host:load("team", "", "team.lua", backend_of(function()
      count = count + 1
      if count % 2 == 0 then return { kind = "error", reason = "x" } end
      return { kind = "use", addresses = { "192.0.2.1" } }
    end)))
    for _ = 1, 30 do brain:decide("a/web") end
    assert.equal(30, count)
  end)
end)

describe("a back end with a replica", function()
  it("is fed with all that the engine is told, in order", function()
    local brain, host = fixture()
    local backend = backend_of({ kind = "use", addresses = { "192.0.2.1" } })
    assert(host:load("team", "", "team.lua", backend))
    brain:set_configmap(nil)
    brain:set_service(service("a/web"))
    brain:set_node(allocation.node("n1", "10.0.0.9"))
    brain:exclude("10.0.0.3", "x")
    brain:reserve("a/web", brain:decide("a/web"))
    brain:release("a/web")
    brain:unexclude("10.0.0.3", "x")
    brain:remove_node("n1")
    brain:remove_service("a/web")
    assert.same({ "set_configmap", "set_service", "set_node", "exclude", "reserve", "release", "unexclude",
      "remove_node", "remove_service" }, backend.told)
  end)

  it("is asked with plain values: key, and what the user asks for", function()
    local brain, host = fixture({ request = "192.0.2.7" })
    local backend = backend_of({ kind = "pass" })
    assert(host:load("team", "", "team.lua", backend))
    brain:decide("a/web")
    assert.same({ { "team", { key = "a/web", request = { "192.0.2.7" } } } }, backend.asked)
  end)
end)

describe("the policies of the binary", function()
  it("pass their own tests", function()
    local host = policy_host.new({})
    local results = policy_tests.run(host, "default")
    assert.is_true(#results >= 6)
    for _, result in ipairs(results) do assert.is_nil(result.failure, result.name) end
  end)
end)

describe("a policy's tests", function()
  local function failures(tests)
    local host = policy_host.new({})
    local text = "return { api = 1, rules = { rule.static, rule.global_pool }, tests = " .. tests .. " }"
    assert(host:load("team", text, "team.lua"))
    local list = {}
    for i, result in ipairs(policy_tests.run(host, "team")) do list[i] = result.failure or "passed" end
    return list
  end

  it("run on the plan's engine and say what differs", function()
    assert.same({ "passed", "addresses is {10.0.0.1}, expected {10.0.0.2} (from cidr-global)",
      "action is pending, expected assign (static: no address is asked for; global_pool: there is no global pool)" },
      failures([[{
        { given = { configmap = { ["cidr-global"] = "10.0.0.0/29" } }, expect = { addresses = { "10.0.0.1" } } },
        { given = { configmap = { ["cidr-global"] = "10.0.0.0/29" } }, expect = { addresses = { "10.0.0.2" } } },
        { expect = { action = "assign" } },
      }]]))
  end)

  it("fail when they expect nothing or are nonsense", function()
    assert.equal("expect is empty", failures("{ { expect = {} } }")[1])
    assert.truthy(failures("{ 42 }")[1]:find("cannot be run", 1, true))
    assert.truthy(failures("{ { given = 42, expect = { action = 'keep' } } }")[1]:find("cannot be run", 1, true))
  end)
end)

describe("a back end that waits", function()
  it("is asked again when another was given the address meanwhile", function()
    local brain, host = fixture()
    local asked = 0
    assert(host:load("team", "", "team.lua", backend_of(function()
      asked = asked + 1
      if asked == 1 then brain.state:set_service(service("a/fast", { assigned = "10.0.0.2 default/global_pool" })) end
      return { kind = "use", addresses = { asked == 1 and "10.0.0.2" or "10.0.0.3" } }
    end)))
    local decision = brain:decide("a/web")
    assert.same({ "10.0.0.3" }, decision.addresses)
    assert.is_nil(decision.failure)
    assert.equal(2, asked)
  end)

  it("decides anew when its Service changed, and nothing when it went", function()
    local brain, host = fixture()
    local asked = 0
    assert(host:load("team", "", "team.lua", backend_of(function()
      asked = asked + 1
      if asked == 1 then brain.state:set_service(service("a/web", { request = "192.0.2.5" })) end
      return { kind = "use", addresses = { "192.0.2." .. asked } }
    end)))
    assert.same({ "192.0.2.2" }, brain:decide("a/web").addresses)
    assert(host:load("team", "", "team.lua", backend_of(function()
      brain.state:remove_service("a/web")
      return { kind = "use", addresses = { "192.0.2.1" } }
    end)))
    assert.is_nil(brain:decide("a/web"))
  end)
end)
