local conflict = require("moonlb.announcer.conflict")
local endpoints = require("moonlb.announcer.endpoints")
local groups = require("moonlb.announcer.groups")
local placement = require("moonlb.announcer.placement")
local request = require("moonlb.announcer.request")

describe("announcer.request", function()
  local function service(annotations, changes)
    local it = { metadata = { annotations = annotations, labels = { implementation = "kube-vip" } },
      spec = { type = "LoadBalancer" } }
    for key, value in pairs(changes or {}) do it.spec[key] = value end
    return it
  end

  it("takes the addresses that our allocator wrote down as assigned", function()
    local it = request.of(service({ ["moonlb.io/assigned"] = "10.0.0.9,fd00:0::9 default/global_pool",
      ["kube-vip.io/loadbalancerIPs"] = "10.0.0.66" }))
    assert.same({ "10.0.0.9", "fd00::9" }, it.addresses)
  end)

  it("takes kube-vip's annotation where its provider's label stands", function()
    assert.same({ "10.0.0.9" }, request.of(service({ ["kube-vip.io/loadbalancerIPs"] = " 10.0.0.9 ," })).addresses)
  end)

  it("never takes a request alone", function()
    local it = service({ ["kube-vip.io/loadbalancerIPs"] = "10.0.0.9" })
    it.metadata.labels = nil
    assert.is_nil(request.of(it))
  end)

  it("takes 0.0.0.0 as a wish for DHCP, which has no address yet", function()
    local it = request.of(service({ ["moonlb.io/assigned"] = "0.0.0.0 default/dhcp" }))
    assert.same({}, it.addresses)
    assert.is_true(it.is_dhcp)
    assert.equal(4, it.family)
    assert.equal(6, request.of(service({ ["moonlb.io/assigned"] = ":: default/dhcp" })).family)
    local other = request.of(service({ ["moonlb.io/assigned"] = "0.0.0.0 default/dhcp",
      ["kube-vip.io/requestedIP"] = "10.0.0.9" }))
    assert.not_equal(it.wishes, other.wishes)
  end)

  it("never takes status alone, or what is no unicast address", function()
    local it = service({ ["kube-vip.io/loadbalancerIPs"] = "224.0.0.1,127.0.0.1,nonsense" })
    it.status = { loadBalancer = { ingress = { { ip = "10.0.0.9" } } } }
    assert.is_nil(request.of(it))
  end)

  it("is nothing for other types, ignored Services and those being deleted", function()
    local annotations = { ["moonlb.io/assigned"] = "10.0.0.9 default/static" }
    assert.is_nil(request.of(service(annotations, { type = "ClusterIP" })))
    assert.is_nil(request.of(nil))
    local deleted = service(annotations)
    deleted.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    assert.is_nil(request.of(deleted))
    annotations["kube-vip.io/ignore"] = "true"
    assert.is_nil(request.of(service(annotations)))
  end)

  it("carries the interface and externalTrafficPolicy", function()
    local annotations = { ["moonlb.io/assigned"] = "10.0.0.9 x/y", ["kube-vip.io/serviceInterface"] = "eth1" }
    local it = request.of(service(annotations, { externalTrafficPolicy = "Local" }))
    assert.equal("eth1", it.interface)
    assert.is_true(it.is_local)
  end)
end)

describe("announcer.groups", function()
  local function member(uid, created, ...)
    return { uid = uid, created = created, addresses = { ... } }
  end

  it("joins Services by shared addresses, keyed by the oldest one's UID", function()
    local it = groups.new()
    it:set("a/1", member("u1", "2026-01-02", "10.0.0.1", "fd00::1"))
    it:set("a/2", member("u2", "2026-01-01", "10.0.0.1"))
    it:set("a/3", member("u3", "2026-01-03", "fd00::1"))
    it:set("a/4", member("u4", "2026-01-03", "10.0.0.4"))
    assert.same({ id = "u2", services = { "a/1", "a/2", "a/3" }, addresses = { "10.0.0.1", "fd00::1" } }, it:of("a/3"))
    assert.same({ id = "u4", services = { "a/4" }, addresses = { "10.0.0.4" } }, it:of("a/4"))
  end)

  it("falls apart when the joining Service goes", function()
    local it = groups.new()
    it:set("a/1", member("u1", "1", "10.0.0.1"))
    it:set("a/2", member("u2", "2", "10.0.0.1", "10.0.0.2"))
    it:set("a/3", member("u3", "3", "10.0.0.2"))
    it:set("a/2", nil)
    assert.same({ "a/1" }, it:of("a/1").services)
    assert.is_nil(it:of("a/2"))
    assert.same({ "a/3" }, it:services_of("10.0.0.2"))
    it:set("a/3", nil)
    assert.same({}, it:services_of("10.0.0.2"))
  end)
end)

describe("announcer.placement on one node", function()
  local changes, placed
  before_each(function()
    changes = {}
    placed = placement.new({ node = "n1", on_change = function(id) changes[#changes + 1] = id end, is_alone = true,
      now = function() return 0 end, after = function() error("nothing waits") end })
  end)

  it("owns every group that this node qualifies for, in a first term", function()
    placed:update({ id = "g" })
    local is_mine, claim = placed:owner("g")
    assert.is_true(is_mine)
    assert.same({ term = 1, node = "n1" }, claim)
  end)

  it("keeps its own term after a restart, and outbids another node's record", function()
    placed:update({ id = "g", record = { term = 7, node = "n1" } })
    placed:update({ id = "h", record = { term = 7, node = "n2" } })
    assert.same({ term = 7, node = "n1" }, select(2, placed:owner("g")))
    assert.same({ term = 8, node = "n1" }, select(2, placed:owner("h")))
  end)

  it("does not own what it does not qualify for", function()
    placed:update({ id = "g", trouble = "no endpoint" })
    assert.is_false((placed:owner("g")))
    placed:update({ id = "g" })
    assert.is_true((placed:owner("g")))
    assert.same({}, changes) -- who updates a group looks for itself
    placed:remove("g")
    assert.is_false((placed:owner("g")))
  end)

  it("reads claims, and refuses what is none", function()
    assert.same({ term = 3, node = "n-1.x" }, placement.parse_claim("3 n-1.x"))
    for _, text in ipairs({ "", "3", "n1 3", "-1 n1", "3 n1 x", ("9"):rep(40) .. " n1" }) do
      assert.is_nil((placement.parse_claim(text)))
    end
  end)
end)

describe("announcer.endpoints", function()
  local function slice(name, list, service)
    return endpoints.project({ metadata = { namespace = "a", name = name, resourceVersion = "1",
      labels = { ["kubernetes.io/service-name"] = service or "web" } }, endpoints = list })
  end
  local function at(node, conditions) return { nodeName = node, conditions = conditions } end

  it("counts usable endpoints over all slices of a Service", function()
    local it = endpoints.new()
    assert.same({ "a/web" }, it:set("a/1", slice("1", { at("n1", { ready = true }), at("n2", { ready = false }) })))
    it:set("a/2", slice("2", { at("n1", { ready = true }), at("n3", {}) }))
    assert.same({ 2, 3 }, { it:count("a/web", "n1") })
    assert.same({ 0, 3 }, { it:count("a/web", "n2") })
    assert.same({ "a/web" }, it:services())
  end)

  it("takes a missing ready condition as ready (discovery/v1 EndpointConditions)", function()
    local it = endpoints.new()
    it:set("a/1", slice("1", { { nodeName = "n1" } }))
    assert.equal(1, (it:count("a/web", "n1")))
  end)

  it("counts an endpoint that serves while it terminates, no other that is not ready", function()
    local it = endpoints.new()
    it:set("a/1", slice("1", { at("n1", { ready = false, serving = true, terminating = true }),
      at("n2", { ready = false, serving = false, terminating = true }), at("n3", { ready = false, serving = true }) }))
    assert.same({ 1, 1 }, { it:count("a/web", "n1") })
    assert.equal(0, (it:count("a/web", "n3")))
  end)

  it("reads the node of v1beta1 from the topology", function()
    local it = endpoints.new()
    it:set("a/1", slice("1", { { topology = { ["kubernetes.io/hostname"] = "n1" }, conditions = { ready = true } } }))
    assert.equal(1, (it:count("a/web", "n1")))
  end)

  it("names both Services when a slice changes hands, and forgets what is removed", function()
    local it = endpoints.new()
    it:set("a/1", slice("1", { at("n1") }))
    assert.same({ "a/web", "a/api" }, it:set("a/1", slice("1", { at("n1") }, "api")))
    assert.same({ "a/api" }, it:set("a/1", nil))
    assert.same({}, it:services())
  end)
end)

describe("announcer.conflict", function()
  local ENTRY = { address = "10.0.0.9", mac = "02:00:00:00:00:99", interface = "eth0", node = "n1",
    expires = 1767225599 }

  it("writes and reads the annotation", function()
    local text = conflict.format({ ENTRY })
    assert.equal("10.0.0.9 02:00:00:00:00:99 eth0 n1 2025-12-31T23:59:59Z", text)
    assert.same({ ENTRY }, conflict.parse(text))
    assert.same({ ENTRY, ENTRY }, conflict.parse(text .. ", " .. text))
    assert.is_nil(conflict.format({}))
  end)

  it("knows leap days", function()
    for _, time in ipairs({ 951782400, 1709164800, 1709251199, 1772323200, 4107542400 }) do
      local entry = { address = "a", mac = "m", interface = "i", node = "n", expires = time }
      assert.same({ entry }, conflict.parse(conflict.format({ entry })))
    end
  end)

  it("leaves out what is no entry", function()
    assert.same({}, conflict.parse("nonsense, 10.0.0.9 x, a b c d 2025-99"))
    assert.same({}, conflict.parse(nil))
  end)
end)
