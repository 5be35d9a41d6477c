-- Allocation in a cluster, with kubectl as the user: the embedded API, or a real API server (make conformance).
local allocator = require("spec.support.allocator")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")

local function with(data, body, timeout_s)
  return kubernetes.test(function(c)
    local ns = c:namespace()
    allocator.configure(c, ns, data)
    body(c, ns, allocator.start(c, ns))
  end, timeout_s)
end

local function plain(text) return (text:gsub("%p", "%%%0")) end

local function version(c, ns, name)
  return (c:run("-n", ns, "get", "svc", name, "-o", "jsonpath={.metadata.resourceVersion}"))
end

describe("a Service of type LoadBalancer", function()
  it("gets the lowest free address, all fields in one write, and an Event", with({ ["cidr-global"] = "10.77.0.0/24" },
    function(c, ns)
      allocator.service(c, ns, "one")
      allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
      allocator.service(c, ns, "two")
      allocator.expect(c, ns, "two", "10.77.0.2", "global_pool")
      assert.equal("10.77.0.1", allocator.address(c, ns, "one"))
      assert.equal("10.77.0.1 kube-vip", (c:run("-n", ns, "get", "svc", "one", "-o",
        [[jsonpath={.metadata.annotations.kube-vip\.io/loadbalancerIPs} {.metadata.labels.implementation}]])))
      allocator.described(c, ns, "one",
        "Normal%s+AddressAssigned%s+%S+%s+moonlb%s+10%.77%.0%.1 assigned, from cidr%-global")
    end))

  it("gets the address that it asks for, also outside every pool", with({ ["cidr-global"] = "10.77.0.0/24" },
    function(c, ns)
      allocator.service(c, ns, "by-field", { ip = "192.0.2.9" })
      allocator.service(c, ns, "by-annotation", { annotations = { ["kube-vip.io/loadbalancerIPs"] = "192.0.2.10" } })
      allocator.expect(c, ns, "by-field", "192.0.2.9", "static")
      allocator.expect(c, ns, "by-annotation", "192.0.2.10", "static")
    end))

  it("takes the pool of its namespace", kubernetes.test(function(c)
    local ns = c:namespace()
    allocator.configure(c, ns, { ["cidr-" .. ns] = "10.78.0.0/24", ["cidr-global"] = "10.77.0.0/24" })
    allocator.start(c, ns)
    allocator.service(c, ns, "one")
    allocator.expect(c, ns, "one", "10.78.0.1", "namespace_pool")
  end))

  it("stays pending with its reason when the pool is full, and is served at once when the ConfigMap grows",
    with({ ["range-global"] = "10.77.0.5-10.77.0.5" }, function(c, ns)
      allocator.service(c, ns, "first")
      allocator.expect(c, ns, "first", "10.77.0.5", "global_pool")
      allocator.service(c, ns, "second")
      allocator.described(c, ns, "second", "Warning%s+PoolExhausted%s+.-range%-global.-1 of 1")
      assert.equal("", allocator.assigned(c, ns, "second"))
      allocator.configure(c, ns, { ["range-global"] = "10.77.0.5-10.77.0.6" })
      allocator.expect(c, ns, "second", "10.77.0.6", "global_pool")
      assert.equal("10.77.0.5", allocator.address(c, ns, "first"))
    end))

  it("gets a freed address when that has rested", with({ ["range-global"] = "10.77.0.5-10.77.0.5" }, function(c, ns)
    allocator.service(c, ns, "first")
    allocator.expect(c, ns, "first", "10.77.0.5", "global_pool")
    allocator.service(c, ns, "second")
    allocator.described(c, ns, "second", "PoolExhausted")
    c:run("-n", ns, "delete", "svc", "first")
    allocator.expect(c, ns, "second", "10.77.0.5", "global_pool")
  end))

  it("is released by a change of type", with({ ["cidr-global"] = "10.77.0.0/24" }, function(c, ns)
    allocator.service(c, ns, "one")
    allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
    c:run("-n", ns, "patch", "svc", "one", "--type=merge", "-p",
      '{"spec":{"type":"ClusterIP","allocateLoadBalancerNodePorts":null}}')
    loop.until_true(function() return allocator.assigned(c, ns, "one") == "" end, 20, "our annotation is gone")
    assert.equal("", allocator.address(c, ns, "one"))
  end))

  it("moves when its user changes the address to a free one, and stays when it is held", with(
    { ["cidr-global"] = "10.77.0.0/24" }, function(c, ns)
      allocator.service(c, ns, "one")
      allocator.service(c, ns, "two")
      allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
      allocator.expect(c, ns, "two", "10.77.0.2", "global_pool")
      c:run("-n", ns, "patch", "svc", "one", "--type=merge", "-p", '{"spec":{"loadBalancerIP":"10.77.0.99"}}')
      allocator.expect(c, ns, "one", "10.77.0.99", "static")
      c:run("-n", ns, "annotate", "--overwrite", "svc", "one", "kube-vip.io/loadbalancerIPs=10.77.0.2")
      allocator.described(c, ns, "one",
        "Warning%s+AddressRefused.-10%.77%.0%.2 is held by Service " .. plain(ns .. "/two"))
      assert.equal("10.77.0.99 default/static", allocator.assigned(c, ns, "one"))
    end))

  it("is refused an address that another asked for first, naming it", with({ ["cidr-global"] = "10.77.0.0/24" },
    function(c, ns)
      allocator.service(c, ns, "first", { ip = "192.0.2.7" })
      allocator.expect(c, ns, "first", "192.0.2.7", "static")
      allocator.service(c, ns, "second", { ip = "192.0.2.7" })
      allocator.described(c, ns, "second",
        "Warning%s+AddressRefused.-192%.0%.2%.7 is held by Service " .. plain(ns .. "/first"))
      assert.equal("", allocator.assigned(c, ns, "second"))
    end))

  it("is deleted although a cloud controller left its finalizer", with({ ["cidr-global"] = "10.77.0.0/24" },
    function(c, ns)
      allocator.service(c, ns, "one", { finalizers = "service.kubernetes.io/load-balancer-cleanup" })
      allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
      c:run("-n", ns, "delete", "svc", "one", "--timeout=20s")
    end))
end)

describe("the ConfigMap", function()
  it("tells its bad items by Events, and the good ones are used", with(
    { ["cidr-global"] = "10.77.0.0/24, 10.77.300.0/24" }, function(c, ns)
      allocator.service(c, ns, "one")
      allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
      loop.until_true(function()
        return c:run("-n", ns, "describe", "configmap", "kubevip"):find("Warning%s+ConfigInvalid.-10%.77%.300%.0/24")
      end, 20, "an Event on the ConfigMap")
    end))

  it("may be absent: Services wait for it, and get their addresses when it comes", kubernetes.test(function(c)
    local ns = c:namespace()
    allocator.start(c, ns)
    allocator.service(c, ns, "one")
    allocator.described(c, ns, "one", "Warning%s+AddressRefused")
    allocator.configure(c, ns, { ["cidr-global"] = "10.77.0.0/24" })
    allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
    c:run("-n", ns, "delete", "configmap", "kubevip")
    allocator.service(c, ns, "two")
    allocator.described(c, ns, "two", "Warning%s+AddressRefused")
    assert.equal("10.77.0.1", allocator.address(c, ns, "one"))
  end))
end)

describe("moonlb run", function()
  it("writes nothing anew after a restart", with({ ["cidr-global"] = "10.77.0.0/24" }, function(c, ns, moonlb)
    for _, name in ipairs({ "one", "two" }) do allocator.service(c, ns, name) end
    allocator.expect(c, ns, "two", "10.77.0.2", "global_pool")
    allocator.described(c, ns, "two", "AddressAssigned")
    moonlb:stop()
    local before = version(c, ns, "one") .. " " .. version(c, ns, "two")
    allocator.start(c, ns)
    allocator.service(c, ns, "three")
    allocator.expect(c, ns, "three", "10.77.0.3", "global_pool")
    assert.equal(before, version(c, ns, "one") .. " " .. version(c, ns, "two"))
  end))

  it("hands over at once when it is stopped", with({ ["cidr-global"] = "10.77.0.0/24" }, function(c, ns, first)
    local second = allocator.launch(c, ns)
    second:says("msg=leader holder=")
    allocator.service(c, ns, "one")
    allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
    first:stop()
    second:says("msg=allocating")
    allocator.service(c, ns, "two")
    allocator.expect(c, ns, "two", "10.77.0.2", "global_pool")
    assert.equal("10.77.0.1 default/global_pool", allocator.assigned(c, ns, "one"))
  end))

  it("is replaced when it crashes, and every address stays", kubernetes.test(function(c)
    local ns = c:namespace()
    local lease = { "--lease-duration", "3", "--lease-renew-deadline", "2", "--lease-retry", "1" }
    allocator.configure(c, ns, { ["cidr-global"] = "10.77.0.0/24" })
    local first = allocator.start(c, ns, table.unpack(lease))
    local second = allocator.launch(c, ns, table.unpack(lease))
    second:says("msg=leader holder=")
    allocator.service(c, ns, "one")
    allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
    first:crash()
    allocator.service(c, ns, "two")
    second:says("msg=allocating")
    allocator.expect(c, ns, "two", "10.77.0.2", "global_pool")
    assert.equal("10.77.0.1 default/global_pool", allocator.assigned(c, ns, "one"))
  end))

  it("repairs on sight what two leaders gave twice: the older Service keeps it", with(
    { ["cidr-global"] = "10.77.0.0/24" }, function(c, ns)
      allocator.service(c, ns, "older")
      allocator.expect(c, ns, "older", "10.77.0.1", "global_pool")
      loop.until_true(function() -- creationTimestamp counts whole seconds
        return c:run("-n", ns, "get", "svc", "older", "-o", "jsonpath={.metadata.creationTimestamp}") ~=
          os.date("!%Y-%m-%dT%H:%M:%SZ")
      end, 10, "the next second")
      allocator.service(c, ns, "younger", { annotations = { ["kube-vip.io/loadbalancerIPs"] = "10.77.0.1",
        ["moonlb.io/assigned"] = "10.77.0.1 default/global_pool" } })
      allocator.expect(c, ns, "younger", "10.77.0.2", "global_pool")
      allocator.described(c, ns, "younger", "Warning%s+AddressConflict.-" .. plain(ns .. "/older"))
      assert.equal("10.77.0.1 default/global_pool", allocator.assigned(c, ns, "older"))
    end))

  it("follows a user who edits and clears it again and again, and calls that no fight", with(
    { ["cidr-global"] = "10.77.0.0/24" }, function(c, ns)
      local function edit(annotation, spec_ip)
        c:run("-n", ns, "patch", "svc", "one", "--type=merge", "-p",
          ('{"metadata":{"annotations":{"kube-vip.io/loadbalancerIPs":%s}},"spec":{"loadBalancerIP":%s}}')
            :format(annotation, spec_ip))
      end
      allocator.service(c, ns, "one")
      allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
      for i = 1, 4 do
        local wanted = "10.78.0." .. i
        edit(('%q'):format(wanted), '"10.79.0.1"')
        allocator.expect(c, ns, "one", wanted, "static")
      end
      edit("null", "null")
      loop.until_true(function() return (allocator.address(c, ns, "one") or ""):find("^10%.77%.") end, 20, "a new one")
      edit('"10.78.0.9"', "null")
      allocator.expect(c, ns, "one", "10.78.0.9", "static")
      assert.is_nil(c:run("-n", ns, "describe", "svc", "one"):find("AllocatorConflict"))
    end))

  it("stops when another controller writes the same fields, and names it", with({ ["cidr-global"] = "10.77.0.0/24" },
    function(c, ns)
      allocator.service(c, ns, "one")
      allocator.expect(c, ns, "one", "10.77.0.1", "global_pool")
      local function is_told()
        return c:run("-n", ns, "describe", "svc", "one"):find("Warning%s+AllocatorConflict")
      end
      -- What the other controller wants is refused each time, or given: either way moonlb answers with a write.
      for i = 1, 12 do
        if is_told() then break end
        local wanted = "10.77.0." .. 10 + i
        c:run("-n", ns, "patch", "svc", "one", "--type=merge", "--field-manager=other-ccm", "-p",
          ('{"metadata":{"annotations":{"kube-vip.io/loadbalancerIPs":%q}}}'):format(wanted))
        loop.until_true(function() return is_told() or allocator.address(c, ns, "one") == wanted end, 20, "an answer")
      end
      local told = allocator.described(c, ns, "one", "Warning%s+AllocatorConflict")
      if c.is_real then assert.matches("other%-ccm changes what moonlb writes here", told) end
    end))
end)
