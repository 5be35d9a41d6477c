-- http.get of policies: the same in both back ends, against a small IPAM over real HTTP.
local allocation = require("spec.support.allocation")
local async = require("moonlb.async")
local engine = require("moonlb.allocator.engine")
local ipam = require("spec.support.ipam")
local loop = require("spec.support.loop")
local outside = require("moonlb.policy.outside")
local policy_host = require("moonlb.policy.host")
local runtime = require("moonlb.core.runtime")
local worker = require("moonlb.policy.worker")

-- The example, with another IPAM.
local function example(url)
  return (runtime.source("policies/ipam.lua"):gsub('"http://netbox%.example:8000"', ("%q"):format(url)))
end

local BACKENDS = {
  ["this process"] = function(client, text)
    local host = policy_host.new({ now = runtime.boottime, fallback = "pending", http = client })
    assert(host:load("ipam", text, "ipam.lua"))
    return host, function() end
  end,
  ["a worker"] = function(client, text)
    local backend = worker.new({ settings = {}, now = runtime.boottime, utc = runtime.walltime, http = client })
    local host = policy_host.new({ now = runtime.boottime, fallback = "pending" })
    assert(host:load("ipam", text, "ipam.lua", backend))
    return host, function() backend:close() end
  end,
}

for where, open in pairs(BACKENDS) do
  -- body(brain, server, client): an engine whose policy asks the server.
  local function test(body, options)
    options = options or {}
    return loop.test(function()
      local server = ipam.start({ ["web.shop"] = "10.20.0.7/24", ["db.shop"] = "fd20::7/64" })
      local client = outside.new(options.allowed or { "127.0.0.1:" .. server.port })
      local host, close = open(client, options.text and options.text(server.url) or example(server.url))
      local brain = engine.new({ now = runtime.boottime, utc = runtime.walltime, host = host })
      brain:set_configmap(allocation.configmap({ policy = "ipam", ["cidr-global"] = "10.0.0.0/24" }))
      local ok, message = xpcall(function() body(brain, server, host) end, debug.traceback)
      close()
      client:close()
      server:stop()
      if not ok then error(message, 0) end
    end)
  end

  local function decide(brain, key)
    brain:set_service(allocation.service(key))
    return brain:decide(key)
  end

  describe("http.get in " .. where, function()
    it("brings the outside's address", test(function(brain, server)
      local decision = decide(brain, "shop/web")
      assert.same({ "10.20.0.7" }, decision.addresses)
      assert.equal("ipam", decision.rule)
      assert.is_true(decision.is_from_outside)
      assert.same({ "fd20::7" }, decide(brain, "shop/db").addresses)
      assert.same({ "10.0.0.1" }, decide(brain, "shop/other").addresses)
      assert.same({ "web.shop", "db.shop", "other.shop" }, server.asked)
    end))

    it("shows status and body of any answer; a redirect is one", test(function(brain, server)
      server.status, server.headers = 302, { location = server.url .. "/elsewhere" }
      assert.equal("the IPAM answers with status 302", decide(brain, "shop/web").reason)
      assert.same({ "web.shop" }, server.asked)
      server.status, server.headers, server.body = 200, nil, "[[["
      assert.equal("the IPAM's answer is no NetBox list", decide(brain, "shop/web").reason)
      server.body = '{"results": null}'
      assert.equal("the IPAM's answer is no NetBox list", decide(brain, "shop/web").reason)
    end))

    it("asks nobody that is not allowed", test(function(brain, server)
      assert.matches("127%.0%.0%.1:%d+ is not named by %-%-policy%-http%-allow", decide(brain, "shop/web").reason)
      assert.same({}, server.asked)
    end, { allowed = { "127.0.0.2", "127.0.0.1:1" } }))

    it("sends no credentials to the named host of another", test(function(brain, server)
      assert.matches("no plain http address", decide(brain, "shop/web").reason)
      assert.same({}, server.asked)
    end, { text = function(url) return example((url:gsub("//", "//evil@"))) end }))

    it("ends at the deadline, and only its own Service has waited", test(function(brain, server)
      server.delay = 3
      local slow
      brain:set_service(allocation.service("shop/web"))
      async.run(function() slow = brain:decide("shop/web") end)
      loop.until_true(function() return server.asked[1] end, 5, "the question")
      brain:set_configmap(allocation.configmap({ ["policy-shop"] = "ipam", ["cidr-global"] = "10.0.0.0/24" }))
      assert.same({ "10.0.0.1" }, decide(brain, "other/a").addresses)
      assert.is_nil(slow)
      loop.until_true(function() return slow end, 5, "the deadline")
      assert.matches("the IPAM does not answer: .*", slow.reason)
    end, { text = function(url) return (example(url):gsub("timeout = 2", "timeout = 0.3")) end }))

    it("refuses a body that is too large", test(function(brain, server)
      server.body = (" "):rep(100000)
      assert.matches("the IPAM does not answer: .*", decide(brain, "shop/web").reason)
    end))

    it("lets no answer decide for a Service that changed or went meanwhile", test(function(brain, server)
      server.delay = 0.1
      local decision
      brain:set_service(allocation.service("shop/web"))
      async.run(function() decision = brain:decide("shop/web") end)
      loop.until_true(function() return server.asked[1] end, 5, "the question")
      brain:set_service(allocation.service("shop/web", { request = "192.0.2.9" }))
      loop.until_true(function() return decision end, 5, "the decision")
      assert.same({ "192.0.2.9" }, decision.addresses)
      decision = false
      brain:set_service(allocation.service("shop/web"))
      async.run(function() decision = brain:decide("shop/web") end)
      loop.until_true(function() return server.asked[2] end, 5, "the question")
      brain:remove_service("shop/web")
      loop.until_true(function() return decision == nil end, 5, "the end of it")
    end))

    it("is for rules: neither when the policy is loaded nor to place", test(function(brain, _, host)
      local object = allocation.service("shop/web")
      brain:set_node(allocation.node("n1", "10.0.0.250"))
      local decision = decide(brain, "shop/web")
      assert.same({ "10.0.0.1" }, decision.addresses)
      brain:place(object.metadata.namespace .. "/web", decision)
      assert.is_nil(decision.place)
      assert.matches("http.get: only a rule can ask", decision.failure.reason)
      assert.equal(1, host.failures.ipam)
    end, { text = function(url)
      return ([[local ok, why = pcall(http.get, %q)
        assert(not ok and why:find("only a rule can ask", 1, true), why)
        return { api = 1, rules = { rule.global_pool }, place = function() return http.get(%q) end }]]):format(url, url)
    end }))

    it("leaves out JSON that is nested too deeply, and gives each look a copy of its own", test(function(brain, server)
      server.body = ("["):rep(29) .. ("]"):rep(29)
      assert.equal("nil nil 58", decide(brain, "shop/web").reason)
      server.body = ("["):rep(28) .. ("]"):rep(28)
      assert.equal("table nil 56", decide(brain, "shop/web").reason)
      server.body = '[1, null, {"a": null}]'
      assert.equal("table nil 22", decide(brain, "shop/web").reason)
    end, { text = function(url)
      return ([[return { api = 1, rules = { function()
        local answer = assert(http.get(%q .. "/api/ipam/ip-addresses/"))
        if answer.json then
          assert(not answer.json.seen)
          answer.json.seen = true
        end
        assert(http.get(%q .. "/api/ipam/ip-addresses/?2"))
        return refuse(type(answer.json) .. " " .. type(answer.json and answer.json[2]) .. " " .. #answer.body)
      end } }]]):format(url, url)
    end }))

    it("says when the answers of one decision are too large together", test(function(brain, server)
      server.body = ("x"):rep(60000)
      assert.equal("4 of 60000; the answers of one decision have more than 245760 bytes",
        decide(brain, "shop/web").reason)
      server.body = '["' .. ("y"):rep(60000) .. '"]'
      assert.equal("2 of 60004; the answers of one decision have more than 245760 bytes",
        decide(brain, "shop/db").reason)
    end, { text = function(url)
      return ([[return { api = 1, rules = { function()
        local size
        for i = 1, 8 do
          local answer, why = http.get(%q .. "/api/ipam/ip-addresses/?" .. i)
          if not answer then return refuse(i - 1 .. " of " .. size .. "; " .. why) end
          size = #answer.body
        end
      end } }]]):format(url)
    end }))

    it("asks each address once a decision, and eight at most", test(function(brain, server)
      assert.matches("asked outside more than 8 times", decide(brain, "shop/web").failure.reason)
      assert.equal(8, #server.asked)
    end, { text = function(url)
      return ([[return { api = 1, rules = { function()
        for i = 1, 100 do http.get(%q .. "/" .. i) http.get(%q .. "/" .. i) end end } }]]):format(url, url)
    end }))
  end)
end
