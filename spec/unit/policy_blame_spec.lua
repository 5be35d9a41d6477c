-- Who is blamed, and in which words, when a policy does something odd: the same in both back ends.
local allocation = require("spec.support.allocation")
local engine = require("moonlb.allocator.engine")
local loop = require("spec.support.loop")
local policy_host = require("moonlb.policy.host")
local runtime = require("moonlb.core.runtime")
local worker = require("moonlb.policy.worker")

local function body(text)
  return "return { api = 1, rules = { function(service, cluster)\n" .. text .. "\nend } }"
end

for where, new_backend in pairs({
  ["this process"] = function() return nil, function() end end,
  ["a worker"] = function()
    local own = worker.new({ settings = {}, now = runtime.boottime, utc = runtime.walltime })
    return own, function() own:close() end
  end,
}) do
  -- body(what the load said, or nil; an engine): of a policy "p" with this text.
  local function with(text, check)
    return loop.test(function()
      local backend, close = new_backend()
      local host = policy_host.new({ now = runtime.boottime, fallback = "pending" })
      local loaded, fault = host:load("p", text, "p.lua", backend)
      local brain = engine.new({ now = runtime.boottime, utc = runtime.walltime, host = host })
      brain:set_configmap(allocation.configmap({ policy = "p", ["cidr-global"] = "10.0.0.0/24" }))
      brain:set_service(allocation.service("a/web", { labels = { app = "web" } }))
      local ok, message = pcall(check, not loaded and fault or nil, brain, backend)
      close()
      if not ok then error(message, 0) end
    end)
  end

  local function failure_of(brain)
    return assert(brain:decide("a/web").failure, "no failure")
  end

  describe("a policy in " .. where, function()
    for _, name in ipairs({ "next", "error", "pcall", "use" }) do
      it("is to blame for a rule that is a function of C: " .. name, with(
        ("return { api = 1, rules = { %s } }"):format(name), function(fault, brain)
          assert.is_nil(fault)
          local failure = failure_of(brain)
          assert.same({ "p", "rule-1", "p.lua" }, { failure.policy, failure.rule, failure.where })
        end))
    end

    it("has no line for a rule of the stock policy that refuses", with(
      "return { api = 1, rules = { rule.static, rule.namespace_pool, rule.global_pool } }", function(_, brain)
        local decision = brain:decide("a/web")
        assert.same({ "global_pool", { "10.0.0.1" } }, { decision.rule, decision.addresses })
      end))

    it("has rules whose names are of 63 letters", with(("function rule.%s() return use('192.0.2.1') end\n"
      .. "return { api = 1, rules = { rule.%s } }"):format(("r"):rep(63), ("r"):rep(63)), function(_, brain)
        assert.equal("192.0.2.1 p/" .. ("r"):rep(63),
          brain:reconcile("a/web").patch.metadata.annotations["moonlb.io/assigned"])
      end))

    for what, case in pairs({
      ["a longer name"] = { ("function rule.%s() end"):format(("r"):rep(64)),
        'rule["' .. ("r"):rep(64) .. "\"]: a rule's name has at most 63 letters, digits and _" },
      ["a name of other letters"] = { "rule['by-team'] = function() end",
        "rule[\"by-team\"]: a rule's name has at most 63 letters, digits and _" },
      ["a name that is none"] = { "rule[1] = function() end", "rule[number]: a rule's name" },
      ["what is no number"] = { "rule.x = 0/0", "rule.x is no function" },
      ["a table"] = { "rule.x = {}", "rule.x is no function" },
    }) do
      it("is refused for a rule of " .. what, with(case[1] .. " return { api = 1, rules = { rule.static } }",
        function(fault)
          assert.truthy(fault and fault:find("p.lua: " .. case[2], 1, true), fault)
        end))
    end

    for text, words in pairs({
      ["http.get('http://a/', { timeout = 0/0 })"] = "http.get: timeout is a number of seconds",
      ["cluster.count({ label = { 0/0, 'web' } })"] = "count: {label = {name, value}} expected",
      ["cluster.count({ label = { 'app', 0/0 } })"] = "count: {label = {name, value}} expected",
      ["cluster.count({ label = false })"] = "count: {label = {name, value}} expected",
      ["cluster.count({ namespace = 0/0 })"] = "count: namespace is text",
      ["cluster.count(0/0)"] = "count: a table of options expected, got number",
      ["cluster.services({ label = { 0/0, 'web' } })"] = "services: {label = {name, value}} expected",
      ["cluster.services({ label = { 'app', 0/0 } })"] = "services: {label = {name, value}} expected",
      ["cluster.services(0/0)"] = "services: {label = {name, value}} expected",
      ["cluster.namespace_pool(0/0)"] = "namespace_pool: text expected, got number",
      ["cluster.global_pool():free({ n = 0/0 })"] = "free: n is a whole number",
      ["cluster.global_pool():free({ family = 0/0 })"] = 'free: family is 4, 6, "IPv4" or "IPv6"',
    }) do
      it("is told by its own line of " .. text, with(body(text), function(_, brain)
        local failure = failure_of(brain)
        assert.equal("p.lua:2: " .. words, failure.reason)
        assert.matches("^p%.lua", failure.where)
      end))
    end

    for what, field in pairs({ count = "{ 'app', 'web' }", services = "{ 'app', 'web' }" }) do
      it("cannot change an option between two looks at it: " .. what, with(body(([[
        local looks = {}
        local function fickle(name, ...)
          local values = { ... }
          return setmetatable({}, { __index = function(_, key)
            looks[name .. key] = (looks[name .. key] or 0) + 1
            if looks[name .. key] > 1 then return 0/0 end
            return values[key] or values[1][key]
          end })
        end
        cluster.%s(fickle("o", { label = fickle("l", table.unpack(%s)) }))
        return refuse(looks.olabel .. looks.l1 .. looks.l2)]]):format(what, field)), function(_, brain)
          assert.equal("111", brain:decide("a/web").reason)
        end))
    end

    for level = 1, 2 do
      it("is named by an error of level " .. level, with(body(("error('no', %d)"):format(level)),
        function(_, brain)
          local failure = failure_of(brain)
          assert.equal(level == 1 and "p.lua:2: no" or "no", failure.reason)
          assert.matches("^p%.lua:[12]$", failure.where)
        end))
    end
  end)
end

describe("a mistake in the back end for workers", function()
  it("ends what was asked, and what is asked next is answered", loop.test(function()
    local own = worker.new({ settings = {}, now = runtime.boottime, utc = runtime.walltime })
    local host = policy_host.new({ now = runtime.boottime, fallback = "pending" })
    assert(host:load("p", body("return use('192.0.2.1')"), "p.lua", own))
    local brain = engine.new({ now = runtime.boottime, utc = runtime.walltime, host = host })
    brain:set_configmap(allocation.configmap({ policy = "p" }))
    brain:set_service(allocation.service("a/web"))
    local session = own.policies.p.session
    session.ask = function() error("a mistake") end
    assert.equal("moonlb could not ask it", brain:decide("a/web").failure.reason)
    session.ask = nil
    assert.same({ "192.0.2.1" }, brain:decide("a/web").addresses)
    own:close()
  end))
end)
