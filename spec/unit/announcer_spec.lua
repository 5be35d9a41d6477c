local announcer = require("moonlb.announcer")
local clusters = require("spec.support.cluster")
local kernel = require("spec.support.kernel")
local loop = require("spec.support.loop")
require("moonlb.core.log").configure({ level = "error" })

local V4 = "10.0.0.100"
local STRANGER = "02:00:00:00:00:99"

describe("announcer", function()
  local cluster, nl, parts, node

  local function start(settings)
    settings = settings or {}
    settings.probe = settings.probe or "off"
    node = assert(announcer.new({ client = cluster.client, services = cluster.services, node = "node1",
      events = cluster.recorder, settings = settings, parts = parts }))
    assert(node:start())
  end

  local function test(body)
    return loop.test(function()
      cluster, nl = clusters.new(), kernel.new()
      parts = kernel.parts(nl)
      local ok, err = pcall(body)
      if node then node:stop() end
      node = nil
      if not ok then error(err, 0) end
    end)
  end

  local function until_status(name, text)
    loop.until_true(function() return cluster:status(name) == text end, 5, "status " .. text)
  end

  it("takes an assigned address: on lo, answered, announced, in status", test(function()
    start()
    cluster:service("web", V4)
    until_status("web", V4)
    assert.equal("conf 2 1 2, add 10.0.0.100/32 host 109 true 1", nl.said())
    assert.equal("hold 10.0.0.100 2, publish, arp 10.0.0.100", parts.said("[hpa][ouar][lbp]%w* ?%w?"))
  end))

  it("announces no request that no allocator has decided", test(function()
    start()
    cluster:service("web", nil, { loadBalancerIP = V4 }, { ["kube-vip.io/loadbalancerIPs"] = V4 })
    cluster:service("other", "10.0.0.101")
    until_status("other", "10.0.0.101")
    assert.is_nil(node.vips[V4])
  end))

  it("serves what was there before it started, without a probe or a write where a claim stands", test(function()
    cluster:service("web", V4, nil, { ["moonlb.io/claim"] = "4 node1", ["kube-vip.io/vipHost"] = "node1" })
    cluster.objects["demo/web"].status = { loadBalancer = { ingress = { { ip = V4,
      ports = { { port = 80, protocol = "TCP" } } } } } }
    nl.all[3] = { index = 1, address = V4, prefix = 32, family = 4, scope = "host", protocol = 109 }
    nl.all[4] = { index = 1, address = "10.0.0.66", prefix = 32, family = 4, scope = "host", protocol = 109 }
    start({ probe = "fast" })
    loop.until_true(function() return node.vips[V4] and node.vips[V4]:is_answering() end, 5)
    assert.equal("", parts.said("probe"))
    assert.equal("delete 10.0.0.66/32, conf 2 1 2", nl.said())
    cluster:service("other", "10.0.0.101")
    until_status("other", "10.0.0.101")
    assert.same({ "/api/v1/namespaces/demo/services/other/status" }, cluster.writes)
    assert.is_nil(cluster:has_event("web"))
  end))

  it("writes nothing at a restart, however many it holds", test(function()
    local count = 200
    for i = 1, count do
      local ip = "10.0.0." .. 20 + i
      cluster:service("s" .. i, ip, nil, { ["moonlb.io/claim"] = "4 node1", ["kube-vip.io/vipHost"] = "node1" })
      cluster.objects["demo/s" .. i].status = { loadBalancer = { ingress = { { ip = ip,
        ports = { { port = 80, protocol = "TCP" } } } } } }
    end
    start()
    loop.until_true(function()
      local answering = 0
      for _, vip in pairs(node.vips) do answering = answering + (vip:is_answering() and 1 or 0) end
      return answering == count and not next(node.unwritten) and node.queue:depth() == 0
    end, 20, "all answer")
    assert.same({}, cluster.writes)
  end))

  it("gives an address up when a person says so, and says why it is not served", test(function()
    start()
    cluster:service("web", V4)
    until_status("web", V4)
    assert.is_true(node:release(V4))
    loop.until_true(function() return node.vips[V4].state == "wanted" end, 5, "given up")
    assert.equal("given up on node node1 by hand, for a minute", node.vips[V4].reason)
    local ok, message, code = node:release("10.0.0.77")
    assert.same({ nil, "no Service wants 10.0.0.77", "ENOENT" }, { ok, message, code })
  end))

  it("takes over another node's claim with a higher term", test(function()
    cluster:service("web", V4, nil, { ["moonlb.io/claim"] = "4 node9" })
    start()
    until_status("web", V4)
    assert.equal("5 node1", cluster.objects["demo/web"].metadata.annotations["moonlb.io/claim"])
  end))

  it("clears status and claim when the Service wants no address any more", test(function()
    start()
    cluster:service("web", V4)
    until_status("web", V4)
    local object = cluster.objects["demo/web"]
    object.spec.type = "ClusterIP"
    cluster:put(object)
    until_status("web", "")
    local annotations = cluster.objects["demo/web"].metadata.annotations
    assert.is_nil(annotations["moonlb.io/claim"])
    assert.is_nil(annotations["kube-vip.io/vipHost"])
    assert.is_truthy(cluster:has_event("Withdrawn"))
  end))

  it("withdraws a Service that is being deleted, and does not write into it", test(function()
    start()
    cluster:service("web", V4)
    until_status("web", V4)
    local object = cluster.objects["demo/web"]
    object.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    local writes = #cluster.writes
    cluster:put(object)
    loop.until_true(function() return not node.vips[V4] end, 5)
    assert.equal(writes, #cluster.writes)
    assert.equal(V4, cluster:status("web"))
  end))

  it("stops without touching status, everything off the node", test(function()
    start()
    cluster:service("web", V4)
    until_status("web", V4)
    nl.said()
    local writes = #cluster.writes
    node:stop()
    assert.equal("delete 10.0.0.100/32, conf 2 0 0, close", nl.said())
    assert.equal(writes, #cluster.writes)
  end))

  it("writes both families in one patch, also when one is a stranger's", test(function()
    start({ probe = "fast", interface = "eth0" })
    cluster:service("web", V4 .. ",fd00::100")
    loop.until_true(function() return node.vips[V4] and node.vips[V4].state == "probing" end, 5)
    parts.tell({ type = "conflict", address = V4, mac = STRANGER, index = 2, operation = "reply" })
    until_status("web", "fd00::100")
    assert.is_truthy(cluster:has_event("in use by " .. STRANGER))
    assert.matches("^10.0.0.100 " .. STRANGER .. " eth0 node1 ",
      cluster.objects["demo/web"].metadata.annotations["moonlb.io/conflict"])
  end))

  it("acts on the link although the API does not answer", test(function()
    start()
    cluster:service("web", V4)
    until_status("web", V4)
    cluster.client.merge_patch = function() return nil, "connection refused", "ECONNREFUSED" end
    local link = { type = "link", action = "new", index = 2, name = "eth0", mac = "m2", is_up = false }
    nl.tell(link)
    loop.until_true(function() return node.vips[V4].state == "wanted" end, 5)
    assert.is_truthy(cluster:has_event("Withdrawn 10.0.0.100: interface eth0 is down"))
    link.is_up, link.is_running = true, true
    nl.tell(link)
    loop.until_true(function() return node.vips[V4]:is_answering() end, 5)
    assert.equal(V4, cluster:status("web"))
  end))

  it("does not look at its groups again when a Pod's link comes", test(function()
    start()
    cluster:service("web", V4)
    until_status("web", V4)
    local looks, changes = 0, 0
    local look = node.host.on_change
    node.host.on_change = function()
      look()
      looks = looks + 1
    end
    node:on_excluded(function() changes = changes + 1 end)
    local function hear(index, name, is_running)
      local before = looks
      nl.tell({ type = "link", action = "new", index = index, name = name, mac = "m" .. index, is_up = true,
        is_running = is_running })
      loop.until_true(function() return looks > before end, 5, "a look at the network")
    end
    hear(2, "eth0", true)
    assert.equal(1, changes)
    hear(9, "veth9", true)
    assert.equal(1, changes)
    hear(2, "eth0", false)
    assert.equal(2, changes)
  end))

  it("withdraws when the interface of an annotation goes, also as the first change that it hears of", test(function()
    nl.conf[3] = { arp_ignore = 0, arp_announce = 0 }
    nl.links = (function(links)
      return function()
        local list = links()
        list[3] = { index = 3, name = "eth1", mac = "m3", is_up = true, is_running = true }
        return list
      end
    end)(nl.links)
    start()
    nl.tell({ type = "link", action = "new", index = 9, name = "veth9", mac = "m9", is_up = true, is_running = true })
    loop.until_true(function() return node.fingerprint end, 5, "a first look")
    cluster:service("web", V4, nil, { ["kube-vip.io/serviceInterface"] = "eth1" })
    until_status("web", V4)
    nl.tell({ type = "link", action = "delete", index = 3, name = "eth1" })
    loop.until_true(function() return node.vips[V4].state == "wanted" end, 5, "withdrawn")
    assert.is_truthy(cluster:has_event("InterfaceMissing"))
  end))

  it("says what the node lacks", test(function()
    nl.refused.add = "EPERM"
    start()
    cluster:service("web", V4)
    loop.until_true(function() return cluster:has_event("CAP_NET_ADMIN") end, 5)
    assert.equal("", cluster:status("web"))
    parts.open_netlink = function() return nil, "netlink: Operation not permitted", "EPERM" end
    local none, message, code = announcer.new({ node = "n", settings = {}, parts = parts })
    assert.same({ nil, "netlink: Operation not permitted", "EPERM" }, { none, message, code })
  end))

  describe("externalTrafficPolicy Local", function()
    local LOCAL = { externalTrafficPolicy = "Local" }

    for _, version in ipairs({ "v1", "v1beta1" }) do
      it("is announced where a ready endpoint is, as endpoints come and go: " .. version, test(function()
        cluster.slice_version = version
        cluster:slice("web-1", "web", { { nodeName = "node2", conditions = { ready = true } } })
        start()
        cluster:service("web", V4, LOCAL)
        loop.until_true(function() return cluster.on_slice end, 5, "watch")
        loop.until_true(function()
          local reason = node.vips[V4] and node.vips[V4].reason or ""
          return reason:find("demo/web has no ready endpoint on node node1", 1, true)
        end, 5, "reason")
        cluster:slice("web-2", "web", { { nodeName = "node1", conditions = { ready = true } } })
        until_status("web", V4)
        cluster:slice("web-2", "web", { { nodeName = "node1",
          conditions = { ready = false, serving = true, terminating = true } } })
        loop.until_true(function() return not node.unplaced["demo/web"] end, 5, "placed")
        assert.is_true(node.vips[V4]:is_answering())
        cluster:slice("web-2", "web", { { nodeName = "node1", conditions = { ready = false } } })
        loop.until_true(function() return node.vips[V4].state == "wanted" end, 5, "withdrawn")
        assert.is_truthy(cluster:has_event("Withdrawn"))
      end))
    end

    it("shows no address any more when for a while no node could serve it, and at once when one can", test(function()
      local writer = require("moonlb.announcer.writer")
      local unserved = writer.UNSERVED
      writer.UNSERVED = 0.3
      cluster:slice("web-1", "web", { { nodeName = "node1" } })
      start()
      cluster:service("web", V4, LOCAL)
      until_status("web", V4)
      local withdrawn_at = os.time()
      cluster:slice("web-1", "web", {})
      loop.until_true(function() return node.vips[V4].state == "wanted" end, 5, "withdrawn")
      assert.equal(V4, cluster:status("web"))
      until_status("web", "")
      writer.UNSERVED = unserved
      assert.is_true(os.time() - withdrawn_at < unserved)
      cluster:slice("web-1", "web", { { nodeName = "node1" } })
      until_status("web", V4)
    end))

    it("does not hold up Services of policy Cluster", test(function()
      cluster.slice_version = "none"
      start()
      cluster:service("web", V4, LOCAL)
      cluster:service("other", "10.0.0.101")
      until_status("other", "10.0.0.101")
      assert.equal("EndpointSlices are not read yet", node.vips[V4].reason)
    end))
  end)

  it("withdraws a Service without endpoints only when told to", test(function()
    cluster:slice("web-1", "web", {})
    start({ withdraw_without_endpoints = true })
    cluster:service("web", V4)
    loop.until_true(function()
      return node.vips[V4] and node.vips[V4].reason == "demo/web has no ready endpoint"
    end, 5, "reason")
    cluster:slice("web-1", "web", { { nodeName = "node7" } })
    until_status("web", V4)
  end))

  it("lists its VIPs", test(function()
    start()
    cluster:service("web", V4)
    until_status("web", V4)
    local it = node:list()[1]
    assert.same({ V4, "eth0", { "demo/web" } }, { it.address, it.interface, it.services })
  end))
end)
