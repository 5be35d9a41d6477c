--- The policy API: what a rule sees, may call and may return.
local allocation = require("spec.support.allocation")
local environment = require("moonlb.policy.environment")
local engine = require("moonlb.allocator.engine")
local policy_host = require("moonlb.policy.host")

local service = allocation.service

-- An engine in which a policy decides everything.
local function fixture(source, data)
  local host = policy_host.new({ now = function() return 0 end })
  local loaded, message = host:load("team", source, "policies/team.lua")
  assert(loaded, message)
  local brain = engine.new({ now = function() return 0 end, utc = function() return 0 end, host = host,
    settings = { policy = "team" } })
  brain:set_configmap(allocation.configmap(data or { ["cidr-global"] = "10.0.0.0/29", ["cidr-shop"] = "10.1.0.0/29" }))
  return brain
end

local function policy(body)
  return "return { api = 1, name = 'team', rules = { function(service, cluster)\n" .. body .. "\nend } }"
end

-- What a rule's body decides about a Service.
local function decide(body, options, data)
  local brain = fixture(policy(body), data)
  brain:set_service(service("a/used", { assigned = "10.0.0.1 default/global_pool", labels = { team = "red" } }))
  brain:set_service(service("shop/other", { assigned = "10.1.0.1 default/namespace_pool", created = 2 }))
  options = options or {}
  options.created = 9
  brain:set_service(service("shop/web", options))
  return brain:decide("shop/web")
end

local function reason_of(body, options, data)
  local decision = decide(body, options, data)
  assert.equal("pending", decision.action, decision.message)
  return decision.reason
end

describe("a rule", function()
  it("is called with the object as the API has it; labels, annotations and ports are always there", function()
    local brain = fixture(policy([[
      return refuse(service.metadata.name .. tostring(service.metadata.labels.team) .. #service.spec.ports
        .. tostring(service.metadata.annotations.x)) ]]))
    brain:set_service({ metadata = { namespace = "shop", name = "web" }, spec = { type = "LoadBalancer" } })
    assert.equal("webnil0nil", brain:decide("shop/web").reason)
  end)

  it("decides with use: one address, several, or a list", function()
    assert.same({ "192.0.2.7" }, decide("return use('192.0.2.7')").addresses)
    assert.same({ "192.0.2.7", "192.0.2.8" }, decide("return use('192.0.2.7', '192.0.2.8')").addresses)
    assert.same({ "192.0.2.7", "192.0.2.8" }, decide("return use({ '192.0.2.7', '192.0.2.8' })").addresses)
    assert.same({ "fd00::7" }, decide("return use('FD00:0::7')").addresses)
  end)

  it("decides with dhcp, and with refuse, which ends it", function()
    local decision = decide("return dhcp{ hostname = 'web' }")
    assert.same({ "dhcp", { "0.0.0.0" }, "web" }, { decision.action, decision.addresses, decision.hostname })
    assert.equal("quota", reason_of("return refuse('quota')"))
  end)

  it("passes with nil and a reason, which goes to the trace", function()
    local brain = fixture([[return { api = 1, rules = {
      function() return nil, "not mine" end, function() end, rule.global_pool } }]])
    brain:set_service(service("a/web"))
    local decision = brain:decide("a/web")
    assert.same({ { rule = "rule-1", result = "pass", reason = "not mine" }, { rule = "rule-2", result = "pass" },
      { rule = "global_pool", result = "use" } }, decision.trace)
    assert.equal("global_pool", decision.rule)
  end)

  it("is called as the policy called it", function()
    local brain = fixture([[function rule.by_team() return use("192.0.2.1") end
      return { api = 1, rules = { rule.by_team } }]])
    brain:set_service(service("a/web"))
    assert.equal("by_team", brain:decide("a/web").rule)
  end)

  it("may redefine a stock rule for itself; no other policy sees that", function()
    local brain = fixture([[function rule.static() return refuse("never") end
      return { api = 1, rules = { rule.static } }]])
    brain:set_service(service("a/web"))
    assert.equal("never", brain:decide("a/web").reason)
    brain.settings.policy = "default"
    assert.equal("assign", brain:decide("a/web").action)
  end)

  it("may log a few lines, each of bounded length", function()
    local decision = decide("for i = 1, 100 do log(('x'):rep(1000)) end return use('192.0.2.1')")
    assert.equal(8, #decision.log)
    assert.equal(200, #decision.log[1])
  end)

  it("logs and shows what is no text without its address", function()
    assert.same({ "table", "function" }, decide("log({}) log(use) return use('192.0.2.1')").log)
    assert.equal("table function", reason_of("return refuse(tostring({}) .. ' ' .. tostring(print or use))"))
  end)
end)

describe("pool:free", function()
  it("reserves nothing: asked twice, it says the same", function()
    assert.same({ "10.1.0.2" }, decide([[
      local pool = cluster.namespace_pool("shop")
      assert(pool:free() == pool:free())
      return use(pool:free())]]).addresses)
  end)

  it("follows the Service's families, or the one that is asked for", function()
    local data = { ["cidr-global"] = "10.0.0.0/29,fd00::/126" }
    local spec = { ipFamilyPolicy = "PreferDualStack", ipFamilies = { "IPv6", "IPv4" } }
    assert.same({ "fd00::", "10.0.0.2" },
      decide("return use(cluster.global_pool():free())", { spec = spec }, data).addresses)
    assert.same({ "10.0.0.2" },
      decide("return use(cluster.global_pool():free{ family = 'IPv4' })", { spec = spec }, data).addresses)
    assert.same({ "fd00::" }, decide("return use(cluster.global_pool():free{ family = 6 })", nil, data).addresses)
  end)

  it("says why there is none", function()
    assert.equal("10.9.0.0/31 has no IPv6 addresses",
      reason_of("return refuse(select(2, cluster.pool('10.9.0.0/31'):free{ family = 6 }))"))
    assert.equal("10.1.0.1, 10.0.0.1 is full: 2 of 2 IPv4 addresses used",
      reason_of("return refuse(select(2, cluster.pool('10.1.0.1, 10.0.0.1'):free()))"))
  end)

  it("refuses options that are none, with the line", function()
    local brain = fixture(policy("return use(cluster.global_pool():free{ family = 5 })"))
    brain:set_service(service("a/web"))
    local decision = brain:decide("a/web")
    assert.equal("policies/team.lua:2: free: family is 4, 6, \"IPv4\" or \"IPv6\"", decision.failure.reason)
  end)
end)

describe("a pool", function()
  it("knows its size, how much is used and what it contains", function()
    assert.equal("7 1 true false false cidr-shop", reason_of([[
      local p = cluster.namespace_pool()
      return refuse(table.concat({ p.size, p.used, tostring(p:contains("10.1.0.7")), tostring(p:contains("10.2.0.1")),
        tostring(p:contains("x")), p.name }, " "))]]))
  end)

  it("cannot be changed", function()
    local brain = fixture(policy("cluster.global_pool().size = 1000"))
    brain:set_service(service("a/web"))
    assert.truthy(brain:decide("a/web").failure.reason:find("a pool cannot be changed", 1, true))
  end)
end)

describe("cluster", function()
  it("has no pool where none is configured", function()
    assert.equal("nil nil", reason_of(
      "return refuse(tostring(cluster.namespace_pool('x')) .. ' ' .. tostring(cluster.global_pool()))", nil, {}))
  end)

  it("counts Services that have an address: of a namespace, by label, all", function()
    assert.equal("1 2 1 0", reason_of([[
      return refuse(table.concat({ cluster.count{ namespace = "shop" }, cluster.count(),
        cluster.count{ label = { "team", "red" } },
        cluster.count{ namespace = "shop", label = { "team", "red" } } }, " "))]]))
  end)

  it("lists the other Services with a label", function()
    assert.equal("a/used 10.0.0.1 TCP/80", reason_of([[
      local s = cluster.services{ label = { "team", "red" } }
      assert(#s == 1)
      return refuse(s[1].namespace .. "/" .. s[1].name .. " " .. s[1].addresses[1] .. " " .. s[1].ports)]]))
  end)

  it("follows label changes", function()
    local brain = fixture(policy("return refuse(tostring(cluster.count{ label = { 'team', 'red' } }))"))
    brain:set_service(service("a/web"))
    assert.equal("0", brain:decide("a/web").reason)
    brain:set_service(service("b/x", { assigned = "10.0.0.1 a/b", labels = { team = "red" } }))
    assert.equal("1", brain:decide("a/web").reason)
    brain:set_service(service("b/x", { assigned = "10.0.0.1 a/b", labels = { team = "blue" } }))
    assert.equal("0", brain:decide("a/web").reason)
    brain:set_service(service("b/x", { assigned = "10.0.0.1 a/b", labels = { team = "red" } }))
    brain:remove_service("b/x")
    assert.equal("0", brain:decide("a/web").reason)
  end)

  it("lists nodes by name", function()
    local brain = fixture(policy([[
      local n = cluster.nodes
      return refuse(#n .. n[1].name .. n[1].addresses[1] .. tostring(n[2].is_draining) .. n[2].labels.zone)]]))
    local draining = allocation.node("n2", "10.5.0.2")
    draining.spec, draining.metadata.labels = { unschedulable = true }, { zone = "west" }
    brain:set_node(draining)
    brain:set_node(allocation.node("n1", "10.5.0.1"))
    brain:set_service(service("a/web"))
    assert.equal("2n110.5.0.1truewest", brain:decide("a/web").reason)
  end)

  it("knows what the user asks for, and what may be had", function()
    assert.equal("192.0.2.9", reason_of("return refuse(cluster.requested()[1])", { request = "192.0.2.9" }))
    assert.equal("nil", reason_of("return refuse(tostring(cluster.requested()))"))
    assert.equal("10.0.0.1 is held by Service a/used",
      reason_of("return refuse(select(2, cluster.usable('10.0.0.1')))"))
    assert.equal("true", reason_of("return refuse(tostring(cluster.usable('10.0.0.2')))"))
  end)
end)

describe("the environment", function()
  it("is this list of names, so that it does not change by accident", function()
    local names = {}
    for name in pairs(environment.new({})) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "_VERSION", "assert", "error", "getmetatable", "ipairs", "math", "next", "pairs", "pcall",
      "rawequal", "rawget", "rawlen", "rawset", "select", "setmetatable", "string", "table", "tonumber", "tostring",
      "type", "utf8", "xpcall" }, names)
  end)

  it("has the API's names", function()
    assert.equal("cluster dhcp log refuse rule share use pool:contains free is_dhcp name size used", reason_of([[
      local here = { "cluster" }
      for name, value in pairs{ dhcp = dhcp, log = log, refuse = refuse, rule = rule, share = share, use = use } do
        here[#here + 1] = name
      end
      table.sort(here)
      here[#here + 1] = "pool:contains"
      for _, name in ipairs{ "free", "is_dhcp", "name", "size", "used" } do
        here[#here + 1] = cluster.global_pool()[name] ~= nil and name or "no " .. name
      end
      return refuse(table.concat(here, " "))]]))
  end)

  it("has no dump, no finalizers, and an xpcall whose handler runs after unwinding", function()
    assert.equal("nil", reason_of("return refuse(tostring(string.dump))"))
    assert.equal("false", reason_of("return refuse(tostring(pcall(setmetatable, {}, { __gc = function() end })))"))
    assert.equal("got oops", reason_of([[
      local _, text = xpcall(function() error("oops", 0) end, function(m) return "got " .. m end)
      return refuse(text)]]))
  end)

  it("is each policy's own", function()
    local host = policy_host.new({})
    local rules = "; return { api = 1, rules = { function() end } }"
    assert(host:load("one", "string.format = nil; leak = 1" .. rules, "one.lua"))
    assert(host:load("two", "assert(leak == nil and string.format)" .. rules, "two.lua"))
    assert.truthy(string.format)
  end)
end)
