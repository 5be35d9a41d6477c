--- The allocator's engine: what becomes of a Service, and what is written.
local allocation = require("spec.support.allocation")
local engine = require("moonlb.allocator.engine")
local json = require("moonlb.json")

local service, cluster = allocation.service, allocation.cluster
local ADDRESSES, ASSIGNED = "kube-vip.io/loadbalancerIPs", "moonlb.io/assigned"
local POOL = { ["cidr-global"] = "10.0.0.0/29" }

local function annotate(name, value)
  return function(object) object.metadata.annotations[name] = value end
end

describe("a new Service", function()
  it("gets the lowest free address, in one patch", function()
    local c = cluster(POOL)
    c:put(service("default/web"))
    local result = c.engine:reconcile("default/web")
    assert.same({
      metadata = { resourceVersion = "2", labels = { implementation = "kube-vip" },
        annotations = { [ASSIGNED] = "10.0.0.1 default/global_pool", [ADDRESSES] = "10.0.0.1" } },
      spec = { loadBalancerIP = "10.0.0.1" },
    }, result.patch)
    assert.is_true(result.reserve)
    assert.same({ { type = "Normal", reason = "AddressAssigned",
      message = "10.0.0.1 assigned, from cidr-global (default/global_pool)" } }, result.events)
  end)

  it("needs nothing more once that is written", function()
    local c = cluster(POOL)
    c:put(service("default/web"))
    c:settle()
    assert.equal(1, c.writes)
    assert.is_nil(c.engine:reconcile("default/web").patch)
    assert.equal("keep", c.engine:decide("default/web").action)
  end)

  it("keeps spec.loadBalancerIP empty with --no-spec-ip", function()
    local c = cluster(POOL, { no_spec_ip = true })
    c:put(service("default/web"))
    c:settle()
    assert.is_nil(c.objects["default/web"].spec.loadBalancerIP)
    assert.equal("10.0.0.1", c:assigned("default/web"))
  end)

  it("gets the interface of its namespace, but keeps one of its own", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/29", ["interface-global"] = "eth0", ["interface-shop"] = "" })
    c:put(service("default/a"))
    c:put(service("shop/b"))
    c:put(service("default/c", { annotations = { ["kube-vip.io/serviceInterface"] = "eth7" } }))
    local decisions = c:settle()
    local function interface(key) return c.objects[key].metadata.annotations["kube-vip.io/serviceInterface"] end
    assert.same({ "eth0", "eth7" }, { interface("default/a"), interface("default/c") })
    assert.is_nil(interface("shop/b"))
    assert.equal("eth7", decisions["default/c"].interface)
  end)

  it("stays pending with what was tried and why each failed", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/30" })
    for i = 1, 3 do c:put(service("default/s" .. i, { created = i })) end
    c:put(service("default/web", { created = 9 }))
    local decision = c:settle()["default/web"]
    assert.equal("pending", decision.action)
    assert.equal("static: no address is asked for; dhcp: DHCP is not asked for; namespace_pool: the namespace has no "
      .. "pool of its own; global_pool: cidr-global is full: 3 of 3 IPv4 addresses used", decision.message)
    assert.same({ "PoolExhausted: cidr-global is full: 3 of 3 IPv4 addresses used" }, c:told("default/web"))
    assert.same({ "static", "dhcp", "namespace_pool", "global_pool" },
      { decision.trace[1].rule, decision.trace[2].rule, decision.trace[3].rule, decision.trace[4].rule })
  end)

  it("is told once, not each time it is tried", function()
    local c = cluster({})
    c:put(service("default/web"))
    for _ = 1, 50 do c:settle() end
    assert.equal(1, #c:told("default/web"))
  end)
end)

describe("which Services", function()
  local function action(options, settings)
    local c = cluster(POOL, settings)
    c:put(service("default/web", options))
    return c.engine:decide("default/web").action
  end

  it("have no class or kube-vip's", function()
    assert.equal("assign", action({}))
    assert.equal("assign", action({ spec = { loadBalancerClass = "kube-vip.io/kube-vip-class" } }))
    assert.equal("ignore", action({ spec = { loadBalancerClass = "other.io/class" } }))
  end)

  it("have the class that is configured, and no other", function()
    local settings = { lb_class_name = "mine", lb_class_only = true }
    assert.equal("assign", action({ spec = { loadBalancerClass = "mine" } }, settings))
    assert.equal("ignore", action({}, settings))
    assert.equal("ignore", action({ spec = { loadBalancerClass = "kube-vip.io/kube-vip-class" } }, settings))
  end)

  it("are not to be ignored", function()
    assert.equal("ignore", action({ annotations = { ["kube-vip.io/ignore"] = "true" } }))
    assert.equal("assign", action({ annotations = { ["kube-vip.io/ignore"] = "false" } }))
  end)

  it("are of type LoadBalancer", function()
    local c = cluster(POOL)
    c:put(service("default/web", { spec = { type = "ClusterIP" } }))
    assert.is_nil(c.engine:decide("default/web"))
  end)
end)

describe("addresses in use", function()
  it("are those of annotation, spec, status and lease, of any class and namespace", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/28" })
    c:put(service("a/annotation", { request = "10.0.0.1", spec = { loadBalancerClass = "other" } }))
    c:put(service("b/spec", { ip = "10.0.0.2", annotations = { ["kube-vip.io/ignore"] = "true" } }))
    c:put(service("c/status", { status = { "10.0.0.3" }, spec = { loadBalancerClass = "other" } }))
    c:put(service("d/lease", { assigned = "0.0.0.0 default/dhcp",
      annotations = { ["moonlb.io/lease"] = "10.0.0.4 600" } }))
    c:put(service("e/web", { created = 9 }))
    assert.same({ "10.0.0.5" }, c.engine:decide("e/web").addresses)
  end)

  it("are never 0.0.0.0 or ::, and no text that is none", function()
    local c = cluster(POOL)
    c:put(service("a/dhcp", { request = "0.0.0.0" }))
    c:put(service("a/dhcp6", { request = "::" }))
    c:put(service("a/words", { request = "hello, 10.0.0.1" }))
    c:put(service("e/web", { created = 9 }))
    c:put(service("e/second", { request = "0.0.0.0" }))
    assert.same({ "10.0.0.2" }, c.engine:decide("e/web").addresses)
    assert.equal("dhcp", c.engine:decide("e/second").action)
    local words = c.engine:decide("a/words")
    assert.equal("pending", words.action)
    assert.truthy(words.reason:find("hello", 1, true))
  end)

  it("stay in use while a Service is being deleted", function()
    local c = cluster(POOL)
    c:put(service("a/old", { assigned = "10.0.0.1 default/global_pool" }))
    c:edit("a/old", function(object) object.metadata.deletionTimestamp = "2026-01-03T00:00:00Z" end)
    c:put(service("a/new", { created = 9 }))
    assert.same({ "10.0.0.2" }, c.engine:decide("a/new").addresses)
    assert.is_nil(c.engine:reconcile("a/old").patch)
  end)

  it("are offered again five seconds after they came free", function()
    local c = cluster(POOL)
    c:put(service("a/old", { assigned = "10.0.0.1 default/global_pool" }))
    c:put(service("a/new", { created = 9 }))
    c:delete("a/old")
    assert.same({ "10.0.0.2" }, c.engine:decide("a/new").addresses)
    assert.equal(5, c.engine:next_expiry())
    c:wait(4.9)
    assert.same({ "10.0.0.2" }, c.engine:decide("a/new").addresses)
    c:wait(0.2)
    assert.same({ "10.0.0.1" }, c.engine:decide("a/new").addresses)
    assert.is_nil(c.engine:next_expiry())
  end)

  it("do not rest when they were reserved only", function()
    local c = cluster(POOL)
    c:put(service("a/web"))
    c.engine:reserve("a/web", c.engine:decide("a/web"))
    c:put(service("a/second", { created = 2 }))
    assert.same({ "10.0.0.2" }, c.engine:decide("a/second").addresses)
    c.engine:release("a/web")
    assert.same({ "10.0.0.1" }, c.engine:decide("a/second").addresses)
  end)

  it("do not include those of a status alone: that is no request", function()
    local c = cluster(POOL)
    c:put(service("a/web", { status = { "10.0.0.1" } }))
    local decision = c.engine:decide("a/web")
    assert.equal("assign", decision.action)
    assert.same({ "10.0.0.2" }, decision.addresses)
  end)
end)

describe("a static address", function()
  it("is honoured outside every pool, from annotation or spec", function()
    local c = cluster({})
    c:put(service("a/one", { request = "192.0.2.1" }))
    c:put(service("a/two", { ip = "192.0.2.2" }))
    c:settle()
    assert.same({ "192.0.2.1", "default/static" }, { c:assigned("a/one") })
    assert.same({ "192.0.2.2", "default/static" }, { c:assigned("a/two") })
    assert.equal("192.0.2.2", c.objects["a/two"].metadata.annotations[ADDRESSES])
  end)

  it("is refused when another holds it, naming the holder", function()
    local c = cluster(POOL)
    c:put(service("a/first", { assigned = "192.0.2.1 default/static" }))
    c:put(service("a/second", { request = "192.0.2.1", created = 2 }))
    local decision = c:settle()["a/second"]
    assert.equal("pending", decision.action)
    assert.equal("192.0.2.1 is held by Service a/first", decision.reason)
    assert.same({ "AddressRefused: 192.0.2.1 is held by Service a/first" }, c:told("a/second"))
  end)

  it("goes to the older of two that ask at once, whichever is seen first", function()
    for _, order in ipairs({ { "a/old", "a/young" }, { "a/young", "a/old" } }) do
      local c = cluster(POOL)
      for _, key in ipairs(order) do
        c:put(service(key, { request = "192.0.2.1", created = key == "a/old" and 1 or 2 }))
      end
      assert.equal("pending", c.engine:decide("a/young").action)
      assert.equal("static", c.engine:decide("a/old").action)
    end
  end)

  it("goes before Services that ask for nothing", function()
    local c = cluster(POOL)
    c:put(service("a/any", { created = 1 }))
    c:put(service("a/wants", { request = "10.0.0.1", created = 2 }))
    assert.same({ "a/wants", "a/any" }, c.engine:pending())
    c:settle()
    assert.equal("10.0.0.1", c:assigned("a/wants"))
    assert.equal("10.0.0.2", c:assigned("a/any"))
  end)

  it("must be real unicast, not excluded, and of a family that fits", function()
    local c = cluster(POOL)
    c.engine:exclude("192.0.2.9", "gateway of eth0")
    local cases = { ["224.0.0.1"] = "multicast", ["127.0.0.1"] = "loopback", ["255.255.255.255"] = "broadcast",
      ["fd00::1"] = "IPv4 only", ["192.0.2.9"] = "gateway of eth0", ["nonsense"] = "nonsense" }
    for address, why in pairs(cases) do
      c:put(service("a/web", { request = address, spec = { ipFamilies = { "IPv4" } } }))
      local decision = c.engine:decide("a/web")
      assert.equal("pending", decision.action, address)
      assert.truthy(decision.reason:find(why, 1, true), decision.reason)
    end
  end)

  it("must be two for RequireDualStack", function()
    local c = cluster(POOL)
    local spec = { ipFamilyPolicy = "RequireDualStack", ipFamilies = { "IPv4", "IPv6" } }
    c:put(service("a/one", { request = "192.0.2.1", spec = spec }))
    c:put(service("a/both", { request = "fd00::1, 192.0.2.2", spec = spec }))
    assert.equal("pending", c.engine:decide("a/one").action)
    assert.same({ "fd00::1", "192.0.2.2" }, c.engine:decide("a/both").addresses)
  end)
end)

describe("DHCP", function()
  it("is 0.0.0.0 or ::, asked for by the user", function()
    for _, text in ipairs({ "0.0.0.0", "::" }) do
      local c = cluster(POOL)
      c:put(service("a/web", { request = text }))
      c:settle()
      assert.same({ "0.0.0.0", "default/dhcp" }, { c:assigned("a/web") })
    end
  end)

  it("is a pool that is exactly 0.0.0.0/32", function()
    local c = cluster({ ["cidr-global"] = "0.0.0.0/32" })
    c:put(service("a/web"))
    local decision = c.engine:decide("a/web")
    assert.same({ "dhcp", { "0.0.0.0" }, "global_pool", "cidr-global" },
      { decision.action, decision.addresses, decision.rule, decision.pool })
  end)

  it("does not fit an IPv6 Service", function()
    local c = cluster(POOL)
    c:put(service("a/web", { request = "0.0.0.0", spec = { ipFamilies = { "IPv6" } } }))
    assert.equal("pending", c.engine:decide("a/web").action)
  end)
end)

describe("a Service from kube-vip", function()
  it("keeps its address, as the pool's when it is inside the Service's pool", function()
    local c = cluster(POOL)
    c:put(service("a/pool", { kube_vip = "10.0.0.3", ip = "10.0.0.3" }))
    c:put(service("a/static", { kube_vip = "192.0.2.1", ip = "192.0.2.1", created = 2 }))
    c:settle()
    assert.same({ "10.0.0.3", "default/global_pool" }, { c:assigned("a/pool") })
    assert.same({ "192.0.2.1", "default/static" }, { c:assigned("a/static") })
    assert.equal(2, c.writes)
  end)

  it("keeps its address as its namespace's, with a range alone", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/29", ["range-a"] = "10.0.1.1-10.0.1.9" })
    c:put(service("a/web", { kube_vip = "10.0.1.3" }))
    c:put(service("a/other", { kube_vip = "10.0.0.3" }))
    c:settle()
    assert.same({ "10.0.1.3", "default/namespace_pool" }, { c:assigned("a/web") })
    assert.same({ "10.0.0.3", "default/static" }, { c:assigned("a/other") })
  end)

  it("keeps DHCP", function()
    local c = cluster(POOL)
    c:put(service("a/web", { kube_vip = "0.0.0.0", ip = "0.0.0.0" }))
    c:settle()
    assert.same({ "0.0.0.0", "default/dhcp" }, { c:assigned("a/web") })
  end)
end)

describe("a user's edit", function()
  local function live(assigned, options)
    local c = cluster({ ["cidr-global"] = "10.0.0.0/28" })
    options = options or {}
    options.assigned = assigned or "10.0.0.1 default/global_pool"
    c:put(service("a/web", options))
    c:put(service("a/other", { assigned = "10.0.0.9 default/global_pool" }))
    c:settle()
    c:told("a/web")
    return c
  end

  it("of the annotation is granted when the address is free", function()
    local c = live()
    c:edit("a/web", annotate(ADDRESSES, "10.0.0.7"))
    c:settle()
    assert.same({ "10.0.0.7", "default/static" }, { c:assigned("a/web") })
    assert.equal("10.0.0.7", c.objects["a/web"].spec.loadBalancerIP)
    assert.equal(1, #c:told("a/web"))
  end)

  it("of the spec is granted too, and the other family stays", function()
    local c = live("10.0.0.1,fd00::1 default/global_pool", { spec = { ipFamilyPolicy = "RequireDualStack",
      ipFamilies = { "IPv4", "IPv6" } } })
    c:edit("a/web", function(object) object.spec.loadBalancerIP = "10.0.0.7" end)
    c:settle()
    assert.equal("10.0.0.7,fd00::1", c:assigned("a/web"))
  end)

  it("of both is the annotation's", function()
    local c = live()
    c:edit("a/web", function(object)
      object.metadata.annotations[ADDRESSES], object.spec.loadBalancerIP = "10.0.0.7", "10.0.0.6"
    end)
    c:settle()
    assert.equal("10.0.0.7", c:assigned("a/web"))
  end)

  it("that cannot be granted leaves all as it is: the old address, the user's text, one Event", function()
    local c = live()
    c:edit("a/web", annotate(ADDRESSES, "10.0.0.9"))
    local writes = c.writes
    local decision = c:settle()["a/web"]
    assert.equal(writes, c.writes)
    assert.same({ "keep", { "10.0.0.1" } }, { decision.action, decision.addresses })
    assert.equal("10.0.0.9", c.objects["a/web"].metadata.annotations[ADDRESSES])
    assert.same({ "AddressRefused: 10.0.0.9 is held by Service a/other; it keeps 10.0.0.1" }, c:told("a/web"))
    c:delete("a/other")
    c:settle()
    assert.equal("10.0.0.9", c:assigned("a/web"))
  end)

  it("to a text that is no address is refused", function()
    local c = live()
    c:edit("a/web", annotate(ADDRESSES, "tomorrow"))
    assert.equal("keep", c:settle()["a/web"].action)
    assert.equal("10.0.0.1", c:assigned("a/web"))
  end)

  it("that clears both fields frees the address and decides anew", function()
    local c = live()
    c:edit("a/web", function(object)
      object.metadata.annotations[ADDRESSES], object.spec.loadBalancerIP = nil, nil
    end)
    c:settle()
    assert.same({ "10.0.0.2", "default/global_pool" }, { c:assigned("a/web") })
    c:put(service("a/third", { created = 9 }))
    assert.same({ "10.0.0.3" }, c.engine:decide("a/third").addresses)
    c:wait(6)
    assert.same({ "10.0.0.1" }, c.engine:decide("a/third").addresses)
  end)

  it("that clears one field is nobody's business: nothing is written back", function()
    for _, change in ipairs({ annotate(ADDRESSES, nil), function(object) object.spec.loadBalancerIP = nil end }) do
      local c = live()
      c:edit("a/web", change)
      local writes = c.writes
      c:settle()
      assert.equal(writes, c.writes)
      assert.equal("10.0.0.1", c:assigned("a/web"))
    end
  end)

  it("ends in the same state with --no-spec-ip", function()
    local c = cluster(POOL, { no_spec_ip = true })
    c:put(service("a/web", { ip = "192.0.2.1" }))
    c:settle()
    c:edit("a/web", annotate(ADDRESSES, "192.0.2.2"))
    c:settle()
    assert.equal("192.0.2.2", c:assigned("a/web"))
    assert.equal("192.0.2.2", c.objects["a/web"].spec.loadBalancerIP)
  end)
end)

describe("a Service that is no load balancer any more", function()
  it("loses what we wrote, and its status", function()
    local c = cluster(POOL)
    c:put(service("a/web", { assigned = "10.0.0.1 default/global_pool", status = { "10.0.0.1" } }))
    c:edit("a/web", function(object) object.spec.type = "ClusterIP" end)
    c:settle()
    local object = c.objects["a/web"]
    assert.is_nil(object.metadata.annotations[ASSIGNED])
    assert.is_nil(object.metadata.annotations[ADDRESSES])
    assert.is_nil(object.metadata.labels.implementation)
    assert.is_nil(object.spec.loadBalancerIP)
    assert.same({}, object.status)
    c:wait(6)
    c:put(service("a/new"))
    assert.same({ "10.0.0.1" }, c.engine:decide("a/new").addresses)
  end)

  it("keeps what its user asked for", function()
    local c = cluster(POOL)
    c:put(service("a/web", { assigned = "192.0.2.1 default/static" }))
    c:edit("a/web", function(object) object.spec.type = "ClusterIP" end)
    c:settle()
    assert.equal("192.0.2.1", c.objects["a/web"].spec.loadBalancerIP)
    assert.is_nil(c.objects["a/web"].metadata.annotations[ASSIGNED])
  end)
end)

describe("the cloud controllers' finalizer", function()
  local FINALIZER = "service.kubernetes.io/load-balancer-cleanup"

  local function deleted(finalizers, settings, options)
    local c = cluster(POOL, settings)
    local object = service("a/web", options or { assigned = "10.0.0.1 default/global_pool" })
    object.metadata.finalizers = finalizers
    object.metadata.deletionTimestamp = "2026-01-03T00:00:00Z"
    c:put(object)
    return c.engine:reconcile("a/web").finalizer_removal
  end

  it("is taken from a Service that is being deleted; others stay", function()
    assert.same({ metadata = { resourceVersion = "2", finalizers = { "example.com/mine" } } },
      deleted({ FINALIZER, "example.com/mine" }))
    assert.equal(json.null, deleted({ FINALIZER }).metadata.finalizers)
  end)

  it("is left where there is none, where another takes care of it, and on others' Services", function()
    assert.is_nil(deleted({ "example.com/mine" }))
    assert.is_nil(deleted({ FINALIZER }, { keep_ccm_finalizer = true }))
    assert.is_nil(deleted({ FINALIZER }, nil, { spec = { loadBalancerClass = "other" } }))
  end)
end)

describe("two Services with one address", function()
  it("are repaired: the older keeps it, the younger gets another", function()
    local c = cluster(POOL)
    c:put(service("a/young", { assigned = "10.0.0.1 default/global_pool", created = 2 }))
    c:put(service("a/old", { assigned = "10.0.0.1 default/global_pool", created = 1 }))
    c:settle()
    assert.equal("10.0.0.1", c:assigned("a/old"))
    assert.equal("10.0.0.2", c:assigned("a/young"))
    local told = c:told("a/young")
    assert.equal("AddressConflict: 10.0.0.1 is held by Service a/old, which is older", told[1])
  end)

  it("leave the younger pending when it asked for that address", function()
    local c = cluster(POOL)
    c:put(service("a/young", { assigned = "192.0.2.1 default/static", created = 2 }))
    c:put(service("a/old", { assigned = "192.0.2.1 default/static", created = 1 }))
    assert.equal("pending", c:settle()["a/young"].action)
    assert.is_nil(c:assigned("a/young"))
    assert.equal("192.0.2.1", c.objects["a/young"].metadata.annotations[ADDRESSES])
    c:delete("a/old")
    c:settle()
    assert.equal("192.0.2.1", c:assigned("a/young"))
  end)

  it("are left alone where they share it", function()
    local c = cluster(POOL)
    c:put(service("a/one", { assigned = "10.0.0.1 default/global_pool", ports = { 80 } }))
    c:put(service("a/two", { assigned = "10.0.0.1 default/global_pool", ports = { 443 }, created = 2 }))
    c:settle()
    assert.equal(0, c.writes)
  end)
end)

describe("sharing", function()
  local SHARED = { ["cidr-global"] = "10.0.0.0/28", ["allow-share-global"] = "true" }

  it("is by protocol and port, and takes the lowest suitable address", function()
    local c = cluster(SHARED)
    c:put(service("a/s1", { ports = { 80 }, created = 1 }))
    c:put(service("a/s2", { ports = { 80 }, created = 2 }))
    c:put(service("b/s3", { ports = { "UDP/80" }, created = 3 }))
    c:put(service("a/s4", { ports = { 443, 80 }, created = 4 }))
    c:put(service("a/s5", { ports = { 443 }, created = 5 }))
    local decisions = c:settle()
    local function has(key) return (c:assigned(key)) end
    assert.same({ "10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.3", "10.0.0.1" },
      { has("a/s1"), has("a/s2"), has("b/s3"), has("a/s4"), has("a/s5") })
    assert.equal("keep", decisions["a/s5"].action)
  end)

  it("says so", function()
    local c = cluster(SHARED)
    c:put(service("a/s1", { assigned = "10.0.0.1 default/global_pool", ports = { 80 } }))
    c:put(service("a/s2", { ports = { 81 }, created = 2 }))
    assert.equal("share", c.engine:decide("a/s2").action)
  end)

  it("is for externalTrafficPolicy Cluster, and for Services with ports", function()
    for _, options in ipairs({ { spec = { externalTrafficPolicy = "Local" }, ports = { 443 } }, { ports = {} } }) do
      local c = cluster(SHARED)
      c:put(service("a/s1", { assigned = "10.0.0.1 default/global_pool" }))
      options.created = 2
      c:put(service("a/s2", options))
      assert.same({ "10.0.0.2" }, c.engine:decide("a/s2").addresses)
      c:settle()
      c:put(service("a/s3", { ports = { 8080 }, created = 3, request = "10.0.0.2" }))
      assert.equal("pending", c.engine:decide("a/s3").action)
    end
  end)

  it("is within one pool", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/28", ["allow-share-global"] = "true", ["cidr-b"] = "10.0.0.0/28" })
    c:put(service("a/s1", { assigned = "10.0.0.1 default/global_pool" }))
    c:put(service("b/s2", { ports = { 443 } }))
    assert.same({ "10.0.0.2" }, c.engine:decide("b/s2").addresses)
  end)

  it("applies to addresses that are asked for", function()
    local c = cluster(SHARED)
    c:put(service("a/s1", { request = "10.0.0.9", ports = { 80 } }))
    c:put(service("a/s2", { request = "10.0.0.9", ports = { 443 }, created = 2 }))
    c:put(service("a/s3", { request = "10.0.0.9", ports = { 443 }, created = 3 }))
    local decisions = c:settle()
    assert.equal("10.0.0.9", (c:assigned("a/s2")))
    assert.equal("pending", decisions["a/s3"].action)
  end)

  it("ends for the younger one when ports come to overlap", function()
    local c = cluster(SHARED)
    c:put(service("a/s1", { ports = { 80 } }))
    c:put(service("a/s2", { ports = { 443 }, created = 2 }))
    c:settle()
    c:edit("a/s1", function(object) object.spec.ports[2] = { port = 443, protocol = "TCP" } end)
    c:settle()
    assert.equal("10.0.0.1", (c:assigned("a/s1")))
    assert.equal("10.0.0.2", (c:assigned("a/s2")))
  end)

  it("survives its being switched off", function()
    local c = cluster(SHARED)
    c:put(service("a/s1", { ports = { 80 } }))
    c:put(service("a/s2", { ports = { 443 }, created = 2 }))
    c:settle()
    c:configure({ ["cidr-global"] = "10.0.0.0/28" })
    c:settle()
    assert.equal("10.0.0.1", (c:assigned("a/s2")))
  end)
end)

describe("the ConfigMap", function()
  it("moves no Service that has an address", function()
    local c = cluster(POOL)
    c:put(service("a/web"))
    c:settle()
    for _, data in ipairs({ { ["cidr-global"] = "10.9.0.0/24" }, {}, { ["cidr-a"] = "" },
      { ["cidr-global"] = "0.0.0.0/32" } }) do
      c:configure(data)
      assert.equal("keep", c:settle()["a/web"].action)
    end
    assert.equal(1, c.writes)
  end)

  it("lets those that wait try again, in order", function()
    local c = cluster({})
    for i = 1, 3 do c:put(service("a/s" .. 4 - i, { created = 4 - i })) end
    c:settle()
    c:configure(POOL)
    assert.same({ "a/s1", "a/s2", "a/s3" }, c.engine:affected_by_config())
    c:settle()
    assert.equal("10.0.0.1", (c:assigned("a/s1")))
    assert.equal("10.0.0.3", (c:assigned("a/s3")))
    assert.same({}, c.engine:pending())
  end)

  it("says that a Service waits for DHCP, by one Event", function()
    local c = cluster(POOL)
    c:put(service("a/web", { request = "0.0.0.0" }))
    local events = c.engine:reconcile("a/web").events
    assert.equal(1, #events)
    assert.equal("Normal AddressAssigned 0.0.0.0 DHCP, as asked for (default/dhcp)",
      ("%s %s %s"):format(events[1].type, events[1].reason, events[1].message))
  end)

  it("has its bad items told as Events", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/29,nonsense", ["range-a"] = "10.0.1.1-10.0.1.9" })
    local events = c.engine:configmap_events()
    assert.equal(1, #events)
    assert.equal("ConfigInvalid", events[1].reason)
    assert.truthy(events[1].message:find('cidr-global: "nonsense"', 1, true))
  end)

  it("has each bad item told with its key and text, whatever is wrong with it", function()
    local c = cluster({ ["cidr-global"] = "127.0.0.0/30", ["search-order"] = "sideways" })
    local events = c.engine:configmap_events()
    assert.equal(2, #events)
    assert.truthy(events[1].message:find('cidr-global: "127.0.0.0/30"', 1, true))
    assert.truthy(events[2].message:find('search-order: "sideways"', 1, true))
  end)

  it("chooses the policy; one that is not there is told, and the stock policy decides", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/29", ["policy-a"] = "team" })
    c:put(service("a/web"))
    c:put(service("b/web"))
    c:settle()
    assert.equal("10.0.0.1", (c:assigned("a/web")))
    assert.equal("PolicyFailed: policy team: there is no policy of that name", c:told("a/web")[1])
    assert.equal(1, #c:told("b/web"))
  end)
end)

describe("excluded addresses", function()
  it("are given to nobody, and block no pool", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/24" })
    c.engine:exclude("10.0.0.0-10.0.0.99", "reserved for the router")
    c:put(service("a/web"))
    assert.same({ "10.0.0.100" }, c.engine:decide("a/web").addresses)
    c.engine:unexclude("10.0.0.0-10.0.0.99", "reserved for the router")
    assert.same({ "10.0.0.1" }, c.engine:decide("a/web").addresses)
  end)

  it("are a node's own, but not one that a Service held first", function()
    local c = cluster(POOL)
    c:put(service("a/first", { assigned = "10.0.0.1 default/global_pool" }))
    c.engine:set_node(allocation.node("n1", "10.0.0.1", "10.0.0.2", "fd00::1"))
    c:put(service("a/web", { created = 2 }))
    assert.same({ "10.0.0.3" }, c.engine:decide("a/web").addresses)
    assert.equal("keep", c.engine:decide("a/first").action)
    assert.same({ { text = "10.0.0.2", reason = "address of node n1" },
      { text = "fd00::1", reason = "address of node n1" } }, c.engine:excluded())
    c.engine:remove_node("n1")
    assert.same({ "10.0.0.2" }, c.engine:decide("a/web").addresses)
  end)

  it("are quarantined ones, until their time is over; a pool's is replaced", function()
    local c = cluster(POOL)
    c:put(service("a/web"))
    c:settle()
    c:edit("a/web", annotate("moonlb.io/conflict", "10.0.0.1 02:00:00:00:00:01 eth0 n1 1970-01-01T00:20:00Z"))
    c:settle()
    assert.equal("10.0.0.2", (c:assigned("a/web")))
    assert.truthy(c:told("a/web")[2]:find("^AddressConflict: 10.0.0.1 is quarantined .*02:00:00:00:00:01"))
    c:put(service("a/new", { created = 2 }))
    assert.same({ "10.0.0.3" }, c.engine:decide("a/new").addresses)
    c:wait(250)
    assert.same({ "10.0.0.1" }, c.engine:decide("a/new").addresses)
  end)

  it("leave a static address alone when it is quarantined", function()
    local c = cluster(POOL)
    c:put(service("a/web", { assigned = "192.0.2.1 default/static",
      annotations = { ["moonlb.io/conflict"] = "192.0.2.1 02:00:00:00:00:01 eth0 n1 1970-01-01T00:20:00Z" } }))
    assert.equal("keep", c.engine:decide("a/web").action)
  end)
end)

describe("dual stack", function()
  it("gives one family when the other is exhausted and one of each when not", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/31,fd00::/126" })
    local spec = { ipFamilyPolicy = "PreferDualStack", ipFamilies = { "IPv6", "IPv4" } }
    for i = 1, 2 do c:put(service("a/s" .. i, { created = i, spec = spec })) end
    c:settle()
    assert.equal("fd00::,10.0.0.1", (c:assigned("a/s1")))
    assert.equal("fd00::1", (c:assigned("a/s2")))
  end)
end)

describe("engine.pools", function()
  it("says how full each is", function()
    local c = cluster({ ["cidr-global"] = "10.0.0.0/29,fd00::/126", ["range-shop"] = "10.0.0.4-10.0.0.7" })
    c:put(service("shop/a"))
    c:settle()
    local global, shop = table.unpack(c.engine:pools())
    assert.same({ { family = "IPv4", size = 7, used = 1 }, { family = "IPv6", size = 4, used = 0 } }, global.families)
    assert.same({ "shop", { "range-shop" }, { { family = "IPv4", size = 4, used = 1 } } },
      { shop.name, shop.keys, shop.families })
  end)
end)

describe("kube-vip's documentation", function()
  it("is a case that works: host bits masked, pools overlapping", function()
    local c = cluster({ ["cidr-default"] = "192.168.0.200/29", ["range-development"] = "192.168.0.210-192.168.0.219",
      ["cidr-finance"] = "192.168.0.220/29,192.168.0.230/29", ["cidr-global"] = "192.168.0.240/29" })
    local expected = { default = "192.168.0.200", development = "192.168.0.210", finance = "192.168.0.216",
      other = "192.168.0.240" }
    for namespace in pairs(expected) do c:put(service(namespace .. "/web")) end
    c:settle()
    for namespace, address in pairs(expected) do assert.equal(address, (c:assigned(namespace .. "/web"))) end
    for i = 1, 10 do c:put(service("development/s" .. i, { created = 1 + i })) end
    for i = 1, 10 do c:put(service("finance/s" .. i, { created = 1 + i })) end
    local seen, decisions = {}, c:settle()
    for key in pairs(decisions) do
      local address = c:assigned(key)
      assert.is_nil(address and seen[address], "twice: " .. tostring(address))
      if address then seen[address] = key end
    end
    -- .216 to .219 are in both: finance took .216, development .210 to .215 and .217 to .219.
    assert.equal("pending", decisions["development/s10"].action)
  end)
end)

describe("a deterministic engine", function()
  it("says the same when asked twice, and reserves nothing", function()
    local brain = engine.new({ now = function() return 0 end, utc = function() return 0 end })
    brain:set_configmap(allocation.configmap(POOL))
    brain:set_service(service("a/web"))
    assert.same(brain:decide("a/web"), brain:decide("a/web"))
  end)
end)
