local answers = require("moonlb.policy.worker_answers")
local async = require("moonlb.async")
local attacks = require("spec.support.attacks")
local core = require("moonlb.core.policy_worker")
local loop = require("spec.support.loop")
local policy_http = require("moonlb.policy.http")
local runtime = require("moonlb.core.runtime")
local trusted = require("moonlb.policy.trusted")
local uv = require("luv")
local worker = require("moonlb.policy.worker")

local STOCK = "return { api = 1, rules = { rule.static, rule.dhcp, rule.namespace_pool, rule.global_pool } }"

local function clock()
  return uv.hrtime() / 1e9
end

local function backend(options)
  options = options or {}
  options.settings, options.now, options.utc = { configmap = "kube-system/kubevip" }, options.now or clock, clock
  return worker.new(options)
end

local function rule(body)
  local text = "return { api = 1, rules = { function(service, cluster)\n%s\nend,\n"
    .. "rule.static, rule.dhcp, rule.global_pool } }"
  return text:format(body)
end

-- A test with a back end that has one policy, "p", and a state.
local function with(text, body, options)
  return loop.test(function()
    local own = backend(options)
    assert(own:load("p", text, "p.lua"))
    local ok, err = pcall(body, own, attacks.state())
    own:close()
    if not ok then error(err, 0) end
  end, 60)
end

local function new_service(name, labels)
  return { metadata = { namespace = "n", name = name, labels = labels, creationTimestamp = "2026-01-01T00:00:00Z" },
    spec = { type = "LoadBalancer", ports = { { port = 80, protocol = "TCP" } } } }
end

describe("load", function()
  local function refuses(what, text, message, code)
    it("refuses " .. what, loop.test(function()
      local own = backend()
      local loaded, why, got = own:load("p", text, "p.lua")
      assert.is_nil(loaded)
      assert.matches(message, why)
      assert.equal(code or "EINVAL", got)
      assert.is_false(own:has("p"))
      own:close()
    end))
  end

  refuses("what does not compile, with file and line", "return {\n  api = 1,,\n}",
    "^p%.lua:2: unexpected symbol near ','$")
  refuses("what raises, with file and line", "\n\nerror('no')", "^p%.lua:3: no$")
  refuses("bytecode", string.dump(function() end), "attempt to load a binary chunk")
  refuses("an empty file", "", "^p%.lua: a policy returns a table, not nil$")
  refuses("a file that is too large", (" "):rep((1 << 20) + 1), "1048577 bytes, at most 1048576", "EFBIG")
  refuses("a level that is unknown", "return { api = 99, rules = {} }",
    "api = 99: this moonlb has the policy API of level 1")

  it("says what the policy is made of", loop.test(function()
    local own = backend()
    local loaded = assert(own:load("p", [[
function rule.by_team() end
return { api = 1, rules = { rule.by_team, function() end, rule.static }, place = function() end,
  tests = { { name = "x", expect = { action = "assign" } } } }]], "p.lua"))
    assert.same({ "by_team", "rule-2", "static" }, loaded.rules)
    assert.is_true(loaded.has_place)
    assert.same({ { name = "x", expect = { action = "assign" } } }, loaded.tests)
    own:close()
  end))

  -- A policy of exactly that many bytes: a table of names, each in a line of its own, and a rule that knows the last.
  local function large(size)
    local head, tail = "local known = {\n", [[
}
for i, name in ipairs(known) do assert(name == ('name-%012d'):format(i), name) end
return { api = 1, rules = { function(service)
  if service.metadata.name == 'boom' then error('no') end
  return refuse(#known .. ' ' .. known[#known])
end } }
]]
    local lines, count = {}, (size - #head - #tail) // 21
    for i = 1, count do lines[i] = ("'name-%012d',\n"):format(i) end
    lines[count] = lines[count]:sub(1, -2) .. (" "):rep((size - #head - #tail) % 21) .. "\n"
    return head .. table.concat(lines) .. tail, ("%d name-%012d"):format(count, count), count + 5
  end

  for _, size in ipairs({ 128 << 10, (128 << 10) + 1, 256 << 10, 300001, 1 << 20 }) do
    local text, known, line = large(size)
    it(("takes %d bytes whole, again after its worker died"):format(size), loop.test(function()
      assert.equal(size, #text)
      local own, all = backend(), attacks.state()
      assert(own:load("p", text, "p.lua"))
      assert.equal(known, own:decide("p", { key = "n/a" }, all).reason)
      assert(uv.kill(own:describe("p").pid, "sigkill"))
      loop.until_true(function() return own:describe("p").deaths == 1 end, 10, "dead")
      assert.equal(known, own:decide("p", { key = "n/a" }, all).reason)
      all:set_service(new_service("boom"))
      own:feed("set_service", new_service("boom"))
      assert.equal(line, own:decide("p", { key = "n/boom" }, all).line)
      own:close()
    end))
  end

  it("takes a byte order mark and Windows line ends", loop.test(function()
    local own = backend()
    assert(own:load("p", "\239\187\191" .. STOCK:gsub(" ", "\r\n"), "p.lua"))
    own:close()
  end))

  it("keeps the good one when the next is bad", with(STOCK, function(own, all)
    assert.is_nil((own:load("p", "return 1", "p.lua")))
    assert.equal("use", own:decide("p", { key = "n/a" }, all).kind)
  end))

  it("puts a new one in its place, in a process of its own", with(STOCK, function(own, all)
    local before = own:describe("p").pid
    assert(own:load("p", rule("return refuse('new')"), "p.lua"))
    assert.are_not.equal(before, own:describe("p").pid)
    assert.equal("new", own:decide("p", { key = "n/a" }, all).reason)
  end))

  it("leaves out nothing of the sandbox for one called like the stock policy", loop.test(function()
    local own = backend()
    assert(own:load("default", runtime.source("policies/default.lua"), "default.lua"))
    assert.equal("use", own:decide("default", { key = "n/a" }, attacks.state()).kind)
    own:close()
  end))
end)

describe("decide", function()
  it("gives rule, line, file, trace and log", with(rule("log('hello')\nreturn nil, 'no team'"), function(own, all)
    local outcome = own:decide("p", { key = "n/a" }, all)
    assert.equal("use", outcome.kind)
    assert.same({ "10.0.0.1" }, outcome.addresses)
    assert.equal("global_pool", outcome.rule)
    assert.equal("policies/default.lua", outcome.file)
    assert.is_nil(outcome.line)
    assert.same({ rule = "rule-1", result = "pass", reason = "no team" }, outcome.trace[1])
    assert.same({ rule = "global_pool", result = "use" }, outcome.trace[4])
    assert.same({ "hello" }, outcome.log)
  end))

  it("names the line that raised, not where the rule begins", with(rule("local x\nreturn x.y"), function(own, all)
    local outcome = own:decide("p", { key = "n/a" }, all)
    assert.equal("error", outcome.kind)
    assert.equal("error", outcome.cause)
    assert.equal("p.lua", outcome.file)
    assert.equal(3, outcome.line)
    assert.matches("attempt to index a nil value", outcome.reason)
  end))

  -- A tail call takes the caller's frame from the stack, and its line with it.
  for what, body in pairs({
    ["use(nil)"] = { "local none\nreturn use(none)", "p.lua:3: use: an address or a list" },
    ["share()"] = { "local x = 1\nreturn share()", "p.lua:3: share: an address expected" },
    ["refuse({})"] = { "local x = 1\nreturn refuse({})", "p.lua:3: refuse: text expected" },
    ["pool:free(5)"] = { "local pool = cluster.pool('10.0.0.0/24')\nreturn pool:free(5)", "p.lua:3: free: a table" },
    ["cluster.pool(7)"] = { "local x = 1\nreturn cluster.pool(7)", "p.lua:3: pool: text expected" },
    ["cluster.usable({{}})"] = { "local x = {{}}\nreturn cluster.usable(x)",
      "p.lua:3: usable: an address expected, got table" },
    ["http.get(7)"] = { "local x = 1\nreturn http.get(7)", "p.lua:3: http.get: an http://" },
  }) do
    it("names the line of a tail call: return " .. what, with(rule(body[1]), function(own, all)
      local outcome = own:decide("p", { key = "n/a" }, all)
      assert.equal("error", outcome.kind)
      assert.equal(3, outcome.line)
      assert.equal(body[2], outcome.reason:sub(1, #body[2]))
    end))
  end

  it("names the line on which a decision was made", with(rule("local x = '127.0.0.1'\n\nreturn use(x)"),
    function(own, all)
      assert.equal(4, own:decide("p", { key = "n/a" }, all).line)
    end))

  for _, name in ipairs({ "next", "error", "pcall", "use" }) do
    it("names the policy's file for a rule that is a function of C: " .. name, with(
      ("return { api = 1, rules = { %s } }"):format(name), function(own, all)
        local outcome = own:decide("p", { key = "n/a" }, all)
        assert.same({ "error", "p.lua" }, { outcome.kind, outcome.file })
        assert.is_nil(outcome.line)
      end))
  end

  it("passes on what the user asks for", with(STOCK, function(own, all)
    assert.same({ "10.9.9.9" }, own:decide("p", { key = "n/a", request = { "10.9.9.9" } }, all).addresses)
    assert.equal("bad", own:decide("p", { key = "n/a", request_error = "bad" }, all).reason)
  end))

  it("says what is exhausted", with(STOCK, function(own, all)
    all:set_configmap({ metadata = { name = "kubevip" }, data = { ["cidr-global"] = "10.0.0.200/32" } })
    local outcome = own:decide("p", { key = "n/a" }, all)
    assert.equal("pass", outcome.kind)
    assert.equal(1, #outcome.exhausted)
    assert.equal(4, outcome.exhausted[1].family)
  end))

  it("gives each of a batch another address, and nothing is held after it", with(STOCK, function(own, all)
    local requests = {}
    for i = 1, 150 do
      all:set_service(new_service("s" .. i))
      requests[i] = { key = "n/s" .. i }
    end
    for _ = 1, 2 do
      for i, outcome in ipairs(own:decide_batch("p", requests, all)) do
        assert.equal("10.0.0." .. (i - 1) % 100 + 1, outcome.addresses[1])
      end
    end
    assert.equal("10.0.0.1", own:decide("p", requests[1], all).addresses[1])
  end))

  it("counts those of the same batch, and finds them by their labels", with(rule([[
    local mates = cluster.services({ label = { "team", "x" } })
    log(("%d %d %d"):format(cluster.count({ namespace = "n" }), cluster.count({ label = { "team", "x" } }), #mates))
    for _, mate in ipairs(mates) do
      if mate.addresses[1] then log(mate.addresses[1]) end
    end]]), function(own, all)
    local requests = {}
    for i, name in ipairs({ "x1", "x2", "x3" }) do
      all:set_service(new_service(name, { team = "x" }))
      requests[i] = { key = "n/" .. name }
    end
    for _ = 1, 2 do	-- nothing is left of it
      local outcomes = own:decide_batch("p", requests, all)
      assert.same({ "0 0 2" }, outcomes[1].log)
      assert.same({ "1 1 2", "10.0.0.1" }, outcomes[2].log)
      assert.same({ "2 2 2", "10.0.0.1", "10.0.0.2" }, outcomes[3].log)
    end
  end))

  it("finds by label among as many as there are, without that being the policy's time", with(rule([[
    return refuse(cluster.count({ label = { "app", "a-1" } }) .. " " .. #cluster.services({ label = { "n", "7" } }))]]),
    function(own, all)
      for i = 1, 3000 do
        all:set_service(new_service("s" .. i, { app = "a-" .. i % 10, n = tostring(i) }))
      end
      local outcome = own:decide("p", { key = "n/a" }, all)
      assert.equal("0 1", outcome.reason)	-- within 20,000 steps
      assert.equal(1, own:describe("p").starts)
    end, { limits = { steps = 20000 } }))

  it("sees what was fed since", with(STOCK, function(own, all)
    assert.same({ "10.0.0.1" }, own:decide("p", { key = "n/a" }, all).addresses)
    all:reserve("n/a", { "10.0.0.1" })
    own:feed("reserve", "n/a", { "10.0.0.1" })
    assert.same({ "10.0.0.2" }, own:decide("p", { key = "n/b" }, all).addresses)
    all:release("n/a")
    own:feed("release", "n/a")
    assert.same({ "10.0.0.1" }, own:decide("p", { key = "n/b" }, all).addresses)
    own:feed("exclude", "10.0.0.1-10.0.0.9", "test")
    assert.same({ "10.0.0.10" }, own:decide("p", { key = "n/b" }, all).addresses)
    own:feed("unexclude", "10.0.0.1-10.0.0.9", "test")
    own:feed("set_configmap", { metadata = { name = "kubevip" }, data = { ["cidr-global"] = "10.5.0.0/24" } })
    assert.same({ "10.5.0.1" }, own:decide("p", { key = "n/b" }, all).addresses)
  end))

  it("says so when it was never told of the Service, or of the policy", with(STOCK, function(own, all)
    assert.matches("does not know this Service", own:decide("p", { key = "n/none" }, all).reason)
    assert.equal("ENOENT", own:decide("q", { key = "n/a" }, all).code)
    assert.equal("ENOENT", own:decide_batch("q", { { key = "n/a" } }, all)[1].code)
  end))

  it("fails a request that fits into no message, says why, and lets the rest of the batch go on", with(STOCK,
    function(own, all)
      local deep = { 1 }
      for _ = 1, 60 do deep = { deep } end
      local list = own:decide_batch("p", { { key = "n/a" }, { key = "n/b", http = { x = deep } },
        { key = "n/b", http = { x = ("x"):rep(300000) } }, { key = "n/b" } }, all)
      assert.same({ "use", "error", "error", "use" }, { list[1].kind, list[2].kind, list[3].kind, list[4].kind })
      assert.same({ "the request is nested too deeply for a message", "ELOOP" }, { list[2].reason, list[2].code })
      assert.same({ "the request is too long for a message", "EMSGSIZE" }, { list[3].reason, list[3].code })
      assert.equal(1, own:describe("p").starts)
    end))

  it("sends a batch that is too long for one message in several", with(STOCK, function(own, all)
    local requests = {}
    for i = 1, 10 do requests[i] = { key = "n/a", http = { x = ("x"):rep(60000) } } end
    for _, outcome in ipairs(own:decide_batch("p", requests, all)) do assert.equal("use", outcome.kind) end
    assert.equal(1, own:describe("p").starts)
  end))

  it("leaves the turn to the next when one that waits for it is cancelled", with(STOCK, function(own, all)
    local session, outcome = own.policies.p.session, nil
    async.run(function() session:ask({ { key = "n/a" } }, all) end)
    local cancelled = async.run(function() session:ask({ { key = "n/a" } }, all) end)
    async.run(function() outcome = session:ask({ { key = "n/b" } }, all) end)
    cancelled:cancel()
    loop.until_true(function() return outcome end)
    assert.equal("use", outcome[1].kind)
  end))

  it("ends with ECANCELED when the policy is taken out meanwhile", with(STOCK, function(own, all)
    local outcome
    async.run(function() outcome = own:decide("p", { key = "n/a" }, all) end)
    own:forget("p")
    loop.until_true(function() return outcome end)
    assert.equal("ECANCELED", outcome.code)
  end))
end)

describe("the replica", function()
  -- A small pseudo-random sequence, the same in each run.
  local function random(seed)
    return function(most)
      seed = (seed * 1103515245 + 12345) % 2147483648
      return seed // 65536 % most + 1
    end
  end

  local POOLS = { "10.0.0.0/28", "10.0.0.8-10.0.0.20, 10.1.0.0/29", "10.0.0.0/24", "fd00::/120, 10.0.0.0/29",
    "0.0.0.0/32" }

  -- One random change, made to the state and fed.
  local function change(own, all, draw)
    local key = "s" .. draw(12)
    local what = draw(8)
    local function both(operation, ...)
      own:feed(operation, ...)
      all[operation](all, ...)
    end
    if what <= 3 then
      local object = new_service(key, { team = "t" .. draw(3) })
      object.spec.ipFamilyPolicy = ({ "SingleStack", "PreferDualStack", "RequireDualStack" })[draw(3)]
      local address = draw(2) == 1 and "10.0.0." .. draw(20) or nil
      object.metadata.annotations = { ["kube-vip.io/loadbalancerIPs"] = address,
        ["moonlb.io/assigned"] = address and address .. " p/static" }
      both("set_service", object)
    elseif what == 4 then
      both("remove_service", "n/" .. key)
    elseif what == 5 then
      both("set_configmap", { metadata = { name = "kubevip" }, data = { ["cidr-global"] = POOLS[draw(#POOLS)],
        ["allow-share-global"] = draw(2) == 1 and "true" or nil, ["search-order"] = draw(2) == 1 and "desc" or nil } })
    elseif what == 6 then
      both("set_node", { metadata = { name = "node-" .. draw(3) },
        status = { addresses = { { type = "InternalIP", address = "10.0.0." .. draw(20) } } } })
    elseif all.services["n/" .. key] and not all.reservations["n/" .. key] then
      both("reserve", "n/" .. key, { "10.0.0." .. draw(20) })
    else
      both("release", "n/" .. key)
    end
  end

  it("decides as the state in this process does, whatever happened", with(STOCK, function(own, all)
    local here, draw = trusted.new(), random(42)
    assert(here:load("default", runtime.source("policies/default.lua"), "policies/default.lua"))
    assert(here:load("p", STOCK, "p.lua"))
    local compared = 0
    for step = 1, 300 do
      change(own, all, draw)
      local record = all.services["n/s" .. draw(12)]
      if record and record.is_load_balancer then
        local request = { key = record.key, request = record.request, request_error = record.request_error }
        all.ownership:expire()
        local expected = here:decide("p", request, all)
        local got = own:decide("p", request, all)
        assert.same({ step, expected.kind, expected.addresses, expected.rule, expected.reason },
          { step, got.kind, got.addresses, got.rule, got.reason })
        compared = compared + 1
        if step % 5 == 0 then own:decide_batch("p", { request, { key = "n/a" }, { key = "n/b" }, request }, all) end
      end
    end
    assert.is_true(compared > 150)
    assert.equal(1, own:describe("p").starts)
  end))

  it("is fed also while nobody asks, so that nothing piles up", with(STOCK, function(own, all)
    own:decide("p", { key = "n/a" }, all)
    for i = 1, 1000 do
      all:set_service(new_service("s" .. i))
      own:feed("set_service", all.services["n/s" .. i].object)
    end
    loop.until_true(function() return own:describe("p").services == 1003 end)
    assert.equal("use", own:decide("p", { key = "n/s1000" }, all).kind)
    assert.equal(1, own:describe("p").starts)
  end))

  it("is the same after the worker was killed and started anew", with(STOCK, function(own, all)
    all:reserve("n/a", { "10.0.0.1" })
    all.ownership:exclude("10.0.0.2", "test")
    assert.same({ "10.0.0.3" }, own:decide("p", { key = "n/b" }, all).addresses)
    local pid = own:describe("p").pid
    uv.kill(pid, "sigkill")
    loop.until_true(function() return own:describe("p").pid ~= pid end)
    assert.same({ "10.0.0.3" }, own:decide("p", { key = "n/b" }, all).addresses)
    assert.equal(2, own:describe("p").starts)
  end))

  it("shows a Service that is larger than a message without its longer annotations", with(rule([[
    return refuse(#service.metadata.annotations.short .. " " .. tostring(service.metadata.annotations.long))]]),
    function(own, all)
      local large = new_service("large")
      large.metadata.annotations = { long = ("x"):rep(300000), short = "123" }
      all:set_service(large)
      assert.equal("3 nil", own:decide("p", { key = "n/large" }, all).reason)
    end))

  it("does not show one that is too large all the same, and says so", with(STOCK, function(own, all)
    local large = new_service("large", { app = ("x"):rep(300000) })
    all:set_service(large)
    local outcome = own:decide("p", { key = "n/large" }, all)
    assert.same({ "error", "EMSGSIZE" }, { outcome.kind, outcome.code })
    assert.matches("too large to be shown to a policy", outcome.reason)
    all:reserve("n/large", { "10.0.0.9" })
    own:feed("reserve", "n/large", { "10.0.0.9" })	-- by the stock policy, say
    own:feed("release", "n/large")
    assert.equal("use", own:decide("p", { key = "n/a" }, all).kind)
    all:set_service(new_service("large"))
    own:feed("set_service", new_service("large"))	-- it shrinks
    assert.equal("use", own:decide("p", { key = "n/large" }, all).kind)
    all:set_service(large)
    own:feed("set_service", large)	-- and grows again
    assert.equal("EMSGSIZE", own:decide("p", { key = "n/large" }, all).code)
    all:remove_service("n/large")
    own:feed("remove_service", "n/large")
    assert.matches("does not know this Service", own:decide("p", { key = "n/large" }, all).reason)
    assert.equal("use", own:decide("p", { key = "n/b" }, all).kind)
  end))
end)

describe("a worker that ends", function()
  local KILL = { steps = 1 << 62, soft_ms = 60000, hard_ms = 50 }
  local LOOP = rule("if service.metadata.name == 'bad' then while true do end end return nil")

  it("costs the guilty decision of a batch, and no other", with(LOOP, function(own, all)
    all:set_service(new_service("bad"))
    local requests = { { key = "n/a" }, { key = "n/bad" }, { key = "n/b" } }
    local outcomes = own:decide_batch("p", requests, all)
    assert.equal("use", outcomes[1].kind)
    assert.equal("use", outcomes[3].kind)
    assert.equal("error", outcomes[2].kind)
    assert.equal("ETIMEDOUT", outcomes[2].code)
    assert.matches("too much CPU time", outcomes[2].reason)
  end, { limits = KILL }))

  it("is started anew after a pause that grows, and at once after a success", with(LOOP, function(own, all)
    all:set_service(new_service("bad"))
    for deaths = 1, 3 do
      assert.equal("ETIMEDOUT", own:decide("p", { key = "n/bad" }, all).code)
      assert.equal(deaths, own:describe("p").deaths)
    end
    assert.equal("use", own:decide("p", { key = "n/a" }, all).kind)
    assert.equal(0, own:describe("p").deaths)
    assert.equal(4, own:describe("p").starts)
  end, { limits = KILL }))

  it("is not waited for when the pause is long: the decision ends with what killed it", function()
    local now = 0
    with(LOOP, function(own, all)
      all:set_service(new_service("bad"))
      for _ = 1, 7 do
        now = now + 60
        assert.equal("ETIMEDOUT", own:decide("p", { key = "n/bad" }, all).code)
      end
      local outcome = own:decide("p", { key = "n/a" }, all)
      assert.equal("ETIMEDOUT", outcome.code)
      assert.matches("too much CPU time; the next start is in %d s", outcome.reason)
      now = now + 60
      assert.equal("use", own:decide("p", { key = "n/a" }, all).kind)
    end, { limits = KILL, now = function() return now end })()
  end)

  it("leaves the other policies alone", with(LOOP, function(own, all)
    all:set_service(new_service("bad"))
    assert(own:load("q", STOCK, "q.lua"))
    assert.equal("use", own:decide("q", { key = "n/a" }, all).kind)
    local pid, outcome = own:describe("q").pid, nil
    async.run(function() outcome = own:decide("p", { key = "n/bad" }, all) end)
    for _ = 1, 20 do assert.equal("use", own:decide("q", { key = "n/a" }, all).kind) end
    loop.until_true(function() return outcome end)
    assert.equal("ETIMEDOUT", outcome.code)
    assert.equal(pid, own:describe("q").pid)
  end, { limits = KILL }))

  it("starts with a fresh state after a limit ended a call", with(rule([[
seen = (seen or 0) + 1
if service.metadata.name == "bad" then while true do end end
return refuse(tostring(seen))]]), function(own, all)
    all:set_service(new_service("bad"))
    assert.equal("1", own:decide("p", { key = "n/a" }, all).reason)
    local outcomes = own:decide_batch("p", { { key = "n/a" }, { key = "n/bad" }, { key = "n/a" } }, all)
    assert.equal("2", outcomes[1].reason)
    assert.equal("budget", outcomes[2].cause)
    assert.equal("1", outcomes[3].reason)
    assert.equal(0, own:describe("p").deaths)
  end, { limits = { soft_ms = 5000, hard_ms = 10000 } }))
end)

describe("the memory of a policy", function()
  local SLOW = { limits = { soft_ms = 5000, hard_ms = 10000 } }

  -- Whatever raised for want of memory, also of the API, was left half way.
  it("is its end when there is none left, also where it catches the error", with(rule([[
seen = (seen or 0) + 1
if service.metadata.name == "b" then return refuse(tostring(seen)) end
local held = {}
pcall(function() while true do held[#held + 1] = ("x"):rep(1 << 18) .. #held end end)
held = nil
return refuse("went on")]]), function(own, all)
    local outcome = own:decide("p", { key = "n/a" }, all)
    assert.equal("memory", outcome.cause)
    assert.matches("used more than %d+ KiB of memory", outcome.reason)
    assert.equal("1", own:decide("p", { key = "n/b" }, all).reason)
    assert.equal(2, own:describe("p").starts)
  end, SLOW))

  it("is what it holds: what it drops makes room, whatever that takes", with(rule([[
local text
for i = 10, 33 do text = ("x"):rep(1 << 20) .. i end
return refuse(tostring(#text))]]), function(own, all)
    assert.equal("1048578", own:decide("p", { key = "n/a" }, all).reason)
    assert.equal(1, own:describe("p").starts)
  end, SLOW))
end)

describe("place", function()
  local NODES = { { name = "a", labels = { zone = "1" } }, { name = "b", labels = {} },
    { name = "c", labels = { zone = "1" } }, { name = "d", labels = {} } }
  local GROUP = { addresses = { "10.0.0.1" },
    services = { { namespace = "n", name = "a", labels = {}, annotations = {} } } }

  local function placing(body)
    return ("return { api = 1, rules = { rule.static }, place = function(group, nodes, cluster)\n%s\nend }")
      :format(body)
  end

  local function gives(what, body, names, message)
    it(what, with(placing(body), function(own, all)
      for _, node in ipairs(NODES) do all:set_node({ metadata = { name = node.name, labels = node.labels } }) end
      local got, why = own:place("p", GROUP, all:list_nodes(), all)
      assert.same(names, got)
      if message then assert.matches(message, why) end
      assert.equal("pass", own:decide("p", { key = "n/a" }, all).kind)
    end, { limits = { soft_ms = 5000, hard_ms = 10000 } }))
  end

  gives("ranks nodes, three at most", [[
table.sort(nodes, function(x, y) return (x.labels.zone or "9") .. x.name < (y.labels.zone or "9") .. y.name end)
return nodes]], { "a", "c", "b" })
  gives("takes names as well, and each once, of nodes that there are", "return { 'd', 'x', 'd', 'b' }", { "d", "b" })
  gives("is not led astray by changes of what it gets", "nodes[1].name = 'evil' return nodes", { "b", "c", "d" })
  gives("sees the cluster", "return { nodes[cluster.count{} + 1].name }", { "b" })
  gives("fails with file and line when it raises", "error('no')", nil, "^p%.lua:2: no$")
  gives("fails when it returns no list", "return 5", nil, "^p%.lua:1: place returned a number")
  gives("fails when an entry is no node", "return { 5 }", nil, "^p%.lua:1: place: entry 1 is no node$")
  gives("fails when it does not end", "while true do end", nil, "^p%.lua:2: took more than 4000000 steps$")
end)

-- A worker whose answers are written here: `say(kind, value)` gives the answer to each message.
local function scripted(say)
  return function(options)
    local timer, is_closed = uv.new_timer(), false
    return {
      send = function(_, kind, id, parts)
        local values = {}
        for i, part in ipairs(parts) do values[i] = core.unpack(part) end
        timer:start(0, 0, function()
          if not is_closed then options.on_answer(say(kind, values, id)) end
        end)
        return true
      end,
      most = function() return 65536 end,
      pid = function() return 0 end,
      reject = function(_, why)
        timer:start(0, 0, function() options.on_end({ code = "EBADMSG", message = why }) end)
      end,
      close = function()
        is_closed = true
        if not timer:is_closing() then timer:close() end
      end,
    }
  end
end

describe("a worker that takes no message", function()
  -- The end of a decision, and the worker afterwards, when sending decisions fails with that code.
  local function decide_with(code)
    local closed, start = 0, scripted(function(kind, _, id)
      return kind, id, kind == "L" and { rules = { "rule-1" }, lines = { 1 }, has_place = false } or {}
    end)
    local own = backend({ start = function(options)
      local fake = start(options)
      local send, close = fake.send, fake.close
      function fake.send(self, kind, ...)
        if kind == "D" then return nil, "send: no", code end
        return send(self, kind, ...)
      end
      function fake.close(self)
        closed = closed + 1
        close(self)
      end
      return fake
    end })
    assert(own:load("p", STOCK, "p.lua"))
    local outcome = own:decide("p", { key = "n/a" }, attacks.state())
    local described = own:describe("p")
    local before = closed
    own:close()
    return outcome, described, before
  end

  it("is put to death, and the next one started", loop.test(function()
    for _, code in ipairs({ "EPIPE", "EAGAIN", "EBUSY" }) do
      local outcome, worker_now, closed = decide_with(code)
      assert.equal(code, outcome.code)
      assert.equal(1, worker_now.deaths)
      assert.is_nil(worker_now.pid)
      assert.equal(1, closed)
    end
  end))

  it("lives on when the message was too long for any", loop.test(function()
    local outcome, worker_now, closed = decide_with("EMSGSIZE")
    assert.equal("EMSGSIZE", outcome.code)
    assert.equal(0, worker_now.deaths)
    assert.equal(0, closed)
  end))
end)

describe("what a worker says", function()
  local LOADED = { rules = { "rule-1" }, lines = { 1 }, has_place = false }

  local function answer(outcome)
    return loop.test(function()
      local own = backend({ start = scripted(function(kind, values, id)
        if kind == "L" then return "L", id, LOADED end
        if kind == "V" then return "V", id, {} end
        return outcome(values, id)
      end) })
      assert(own:load("p", STOCK, "p.lua"))
      local got = own:decide("p", { key = "n/a" }, attacks.state())
      assert.equal("error", got.kind)
      assert.equal("EBADMSG", got.code)
      own:close()
    end)
  end

  local GOOD = { kind = "use", addresses = { "10.0.0.9" }, passes = {}, line = 3 }
  local function changed(field, value)
    local given = {}
    for name, item in pairs(GOOD) do given[name] = item end
    given[field] = value
    return given
  end

  local function outcomes(...)
    local list = { ... }
    return function(_, id) return "D", id, { outcomes = list, is_spoiled = false } end
  end

  local POLICY = { file = "p.lua", rules = { "rule-1" }, lines = { 1 }, steps = { {} }, step_count = 0 }

  it("is taken when it is well-formed", function()
    local list = answers.decided({ outcomes = { GOOD }, is_spoiled = false }, { {} }, POLICY)
    assert.same({ { kind = "use", addresses = { "10.0.0.9" }, rule = "rule-1", line = 3, file = "p.lua",
      trace = { { rule = "rule-1", result = "use" } } } }, list)
  end)

  for what, given in pairs({
    ["an unknown kind"] = changed("kind", "steal"),
    ["no kind"] = changed("kind", nil),
    ["addresses that are no list"] = changed("addresses", { x = "10.0.0.9" }),
    ["addresses with a number"] = changed("addresses", { 10 }),
    ["no addresses"] = changed("addresses", {}),
    ["an address without end"] = changed("addresses", { ("1"):rep(65) }),
    ["more passes than rules"] = changed("passes", { "a", "b" }),
    ["a pass of all rules that decides"] = changed("passes", { "a" }),
    ["a pass of nothing that is none"] = changed("kind", "pass"),
    ["an error without cause"] = changed("kind", "error"),
    ["a refusal without reason"] = changed("kind", "refuse"),
    ["a wait without address"] = changed("kind", "http"),
    ["exhausted pools that are none"] = changed("exhausted", { { pool = "x", family = 5, used = 1, size = 1 } }),
    ["an endless pool"] = changed("exhausted", { { pool = "x", family = 6, used = 1, size = math.huge } }),
    ["a log of numbers"] = changed("log", { 1 }),
    ["a log without end"] = changed("log", { "", "", "", "", "", "", "", "", "" }),
  }) do
    it("is refused: " .. what, answer(outcomes(given)))
  end
  it("is refused: more outcomes than questions", answer(outcomes(GOOD, GOOD)))
  it("is refused: fewer outcomes than questions", answer(outcomes()))
  it("is refused: another type", answer(function(_, id) return "L", id, LOADED end))
  it("is refused: no table", answer(function(_, id) return "D", id, 5 end))
  it("is refused: that a new Service would get what it has", answer(outcomes(true)))
  it("is taken: that one which is decided anew would", function()
    local list = answers.decided({ outcomes = { true }, is_spoiled = false }, { { is_anew = true } }, POLICY)
    assert.same({ { kind = "same" } }, list)
  end)
  it("is refused: another id", answer(function(_, id)
    return "D", id + 1, { outcomes = { GOOD }, is_spoiled = false }
  end))

  it("reaches a log as one line of valid UTF-8", function()
    local given = changed("kind", "refuse")
    given.reason = "a\nb\27[31m\255"
    local list = answers.decided({ outcomes = { given }, is_spoiled = false }, { {} }, POLICY)
    assert.equal("a b [31m?", list[1].reason)
  end)
end)

describe("http.get", function()
  local ASK = rule([[
local answer, why = http.get("http://ipam.example/next?name=" .. service.metadata.name, { timeout = 0.2 })
if not answer then return refuse(why) end
return use(answer.json and answer.json.address or answer.body)]])

  local function served(get)
    return { http = policy_http.new({ allowed = { "ipam.example" }, get = get }) }
  end

  it("gives the policy status, body and what JSON is in it", function()
    local asked
    with(ASK, function(own, all)
      assert.same({ "10.0.0.7" }, own:decide("p", { key = "n/a" }, all).addresses)
      assert.is_true(own:decide("p", { key = "n/a" }, all).is_from_outside)
      assert.equal("http://ipam.example/next?name=a", asked.url)
      assert.equal(0.2, asked.timeout)
    end, served(function(request, callback)
      asked = request
      callback(nil, { status = 200, body = '{"address": "10.0.0.7", "note": null}' })
    end))()
  end)

  it("holds up its own Service alone", function()
    local callbacks = {}
    with(ASK, function(own, all)
      local slow, quick
      async.run(function() slow = own:decide("p", { key = "n/a" }, all) end)
      loop.until_true(function() return callbacks["http://ipam.example/next?name=a"] end)
      async.run(function() quick = own:decide("p", { key = "n/b" }, all) end)
      loop.until_true(function() return callbacks["http://ipam.example/next?name=b"] end)
      callbacks["http://ipam.example/next?name=b"](nil, { status = 200, body = "10.0.0.8" })
      loop.until_true(function() return quick end)
      assert.same({ "10.0.0.8" }, quick.addresses)
      assert.is_nil(slow)
      callbacks["http://ipam.example/next?name=a"](nil, { status = 200, body = "10.0.0.9" })
      loop.until_true(function() return slow end)
      assert.same({ "10.0.0.9" }, slow.addresses)
    end, served(function(request, callback) callbacks[request.url] = callback end))()
  end)

  it("has a deadline, and a late answer reaches nobody", function()
    local late, cancelled
    with(ASK, function(own, all)
      local outcome = own:decide("p", { key = "n/a" }, all)
      assert.equal("refuse", outcome.kind)
      assert.matches("no answer from http://ipam.example/next%?name=a within 0.2 s", outcome.reason)
      assert.is_true(cancelled)
      late(nil, { status = 200, body = "10.0.0.66" })
      assert.equal("refuse", own:decide("p", { key = "n/a" }, all).kind)
    end, served(function(_, callback)
      late = callback
      return { cancel = function() cancelled = true end }
    end))()
  end)

  it("tells the policy of a failure and of an answer that is too long", function()
    local answer
    with(ASK, function(own, all)
      answer = { { message = "connection refused" } }
      assert.equal("connection refused", own:decide("p", { key = "n/a" }, all).reason)
      answer = { nil, { status = 200, body = ("x"):rep(70000) } }
      assert.matches("more than 65536 bytes", own:decide("p", { key = "n/a" }, all).reason)
    end, served(function(_, callback) callback(answer[1], answer[2]) end))()
  end)

  it("asks only hosts that are named", function()
    local allowed = { "ipam.example", "10.0.0.5:8080", "[fd00::5]" }
    for _, url in ipairs({ "http://ipam.example", "https://IPAM.example/x", "http://ipam.example:81/",
      "http://10.0.0.5:8080/a?b", "http://[fd00::5]:80/" }) do
      assert.is_true(policy_http.is_allowed(url, allowed), url)
    end
    for _, url in ipairs({ "http://evil.example/", "http://ipam.example.evil/", "http://ipam.example@evil/",
      "http://10.0.0.5/", "http://x@ipam.example/", "ftp://ipam.example/", "http://ipam.example\n/", "http:///", "",
      "http://ipam.example:x/", "http://ipam.example /", "http://[fd00::6]/", "http://evil/#ipam.example",
      "http://evil\\@ipam.example/" }) do
      assert.is_false(policy_http.is_allowed(url, allowed), url)
    end
  end)
end)
