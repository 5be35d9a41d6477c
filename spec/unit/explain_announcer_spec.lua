-- The sentence of `moonlb explain` about an address that is assigned: facts come from a real announcer over a played
-- kernel and API.
local announcer = require("moonlb.announcer")
local base64 = require("moonlb.kube.base64")
local clusters = require("spec.support.cluster")
local explain = require("moonlb.control.explain")
local facts = require("moonlb.control.explain.facts")
local heartbeat = require("moonlb.core.heartbeat")
local kernel = require("spec.support.kernel")
local loop = require("spec.support.loop")
local page = require("moonlb.control.explain.text")
local recorder = require("moonlb.recorder")
local runtime = require("moonlb.core.runtime")
require("moonlb.core.log").configure({ level = "error" })

local V4 = "10.0.0.100"
local STRANGER = "02:00:00:00:00:99"

describe("explain: an assigned address, asked of an announcer", function()
  local cluster, nl, parts, node, pulse

  local function start(settings)
    settings = settings or {}
    settings.probe = settings.probe or "off"
    node = assert(announcer.new({ client = cluster.client, services = cluster.services, node = "node1",
      events = cluster.recorder, settings = settings, parts = parts }))
    assert(node:start())
  end

  local function report(change)
    local it = facts.of_daemon({ settings = { node_name = "node1" }, services = cluster.services,
      announcer = node, allocator = nil, connection = { client = cluster.client } }, "demo/web")
    if change then change(it) end
    return explain.report(it)
  end

  local function test(body)
    return loop.test(function()
      cluster, nl = clusters.new(), kernel.new()
      parts = kernel.parts(nl)
      local begin = parts.start_pulse
      parts.start_pulse = function(on_event)
        pulse = begin(on_event)
        return pulse
      end
      local ok, err = pcall(body)
      if node then node:stop() end
      node = nil
      if not ok then error(err, 0) end
    end)
  end

  local function until_said(code, wrong)
    local it
    local is_said = pcall(loop.until_true, function()
      it = report()
      return it.diagnosis == code
    end, 5)
    assert(is_said, it.sentence)
    assert.is_truthy(it.sentence:find(wrong, 1, true), it.sentence)
    return it
  end

  -- Endpoints there are, so that they are not what is said.
  local function serve(spec, annotations)
    cluster:slice("web-1", "web", { { nodeName = "node1", conditions = { ready = true } } })
    cluster:service("web", V4, spec, annotations)
  end

  it("is well: on which interface, since when", test(function()
    start()
    serve()
    loop.until_true(function() return cluster:status("web") == V4 end, 5, "status")
    local it = until_said("well", V4 .. " is announced by node node1 on eth0 since ")
    assert.is_truthy(it.sentence:find("nothing is wrong that moonlb can see", 1, true))
    assert.same({ "node1", true }, { it.nodes[1].name, it.nodes[1].qualifies })
    assert.matches("vip +10.0.0.100 %l+ on eth0", page.page(it, false))
    assert.equal("vip", recorder.of("none", { V4 }, 1)[1].kind)
  end))

  it("is a stranger's: its MAC, and where it was seen", test(function()
    start({ probe = "fast", interface = "eth0" })
    serve()
    loop.until_true(function() return node.vips[V4] and node.vips[V4].state == "probing" end, 5)
    parts.tell({ type = "conflict", address = V4, mac = STRANGER, index = 2, operation = "reply" })
    local it = until_said("stranger", STRANGER .. " answers for it on eth0 (seen by node node1)")
    assert.matches("claimed by " .. STRANGER, page.page(it, false))
  end))

  it("is to be announced on an interface that does not exist", test(function()
    start()
    serve(nil, { ["kube-vip.io/serviceInterface"] = "eth7" })
    until_said("interface-missing", "interface eth7 (annotation kube-vip.io/serviceInterface) does not exist")
  end))

  it("is to be announced on an interface that a key of the ConfigMap names, and that does not exist", test(function()
    start()
    serve(nil, { ["kube-vip.io/serviceInterface"] = "eth7" })
    until_said("interface-missing", "eth7")
    local it = report(function(them)
      them.configmap = { name = "kube-system/kubevip", interface = { name = "eth7", key = "interface-demo" } }
    end)
    assert.equal("interface-key", it.diagnosis, it.sentence)
    assert.is_truthy(it.wrong:find("eth7, which key interface-demo of ConfigMap kube-system/kubevip names", 1, true))
    assert.is_truthy(it.remedy:find("kubectl -n kube-system edit configmap kubevip", 1, true), it.remedy)
  end))

  it("is in no subnet of its interface: well, with a note", test(function()
    start({ interface = "eth0" })
    cluster:slice("web-1", "web", { { nodeName = "node1" } })
    cluster:service("web", "192.168.9.9")
    loop.until_true(function() return cluster:status("web") == "192.168.9.9" end, 5, "status")
    local it = until_said("well", "192.168.9.9 is announced by node node1")
    local says = "is in no subnet of interface eth0 of node node1 (10.0.0.0/"
    assert.is_truthy(it.notes[1]:find(says, 1, true), it.notes[1])
    assert.is_truthy(it.notes[1]:find("ip route get 192.168.9.9", 1, true), it.notes[1])
  end))

  it("is to come by DHCP, and nobody asks", test(function()
    cluster:service("web", "0.0.0.0")
    start()
    local it = report(function(them) them.lease, them.owner = nil, nil end)
    assert.equal("dhcp-nobody", it.diagnosis, it.sentence)
  end))

  it("has no interface at all", test(function()
    start()
    cluster:slice("web-1", "web", { { nodeName = "node1" } })
    cluster:service("web", "192.168.9.9")
    until_said("interface-missing", "no default route and no interface in the subnet of 192.168.9.9")
  end))

  it("has an interface that is down", test(function()
    start()
    serve()
    until_said("well", V4)
    nl.tell({ type = "link", action = "new", index = 2, name = "eth0", mac = "m2", is_up = false })
    until_said("interface-down", "interface eth0 is down")
  end))

  it("is the node's own", test(function()
    start()
    cluster:slice("web-1", "web", { { nodeName = "node1" } })
    cluster:service("web", "10.0.0.2")
    until_said("host-address", "10.0.0.2 is the address of eth0 on node node1 itself")
  end))

  it("has no endpoint anywhere", test(function()
    start()
    cluster:service("web", V4)
    loop.until_true(function() return cluster:status("web") == V4 end, 5, "status")
    until_said("no-endpoint", "every connection is refused")
  end))

  it("is Local, and no endpoint is on an announcing node", test(function()
    cluster:slice("web-1", "web", { { nodeName = "node7", conditions = { ready = true } } })
    start()
    cluster:service("web", V4, { externalTrafficPolicy = "Local" })
    loop.until_true(function() return cluster.on_slice end, 5, "watch")
    until_said("local-endpoints", "no node that could announce it has one of its 1 ready endpoints")
  end))

  it("could not be taken: the capability is named", test(function()
    nl.refused.add = "EPERM"
    start()
    serve()
    until_said("take-failed", "CAP_NET_ADMIN")
  end))

  it("is announced, and its status could not be written", test(function()
    cluster.client.merge_patch = function() return nil, "connection refused", "ECONNREFUSED" end
    start()
    serve()
    until_said("status-not-written", "its status could not be written: connection refused")
  end))

  it("is announced, and its status may not be written", test(function()
    cluster.client.merge_patch = function() return nil, "services/status is forbidden", "Forbidden" end
    start()
    serve()
    until_said("forbidden", "moonlb may not write the status of Services")
  end))

  it("has nobody to announce it: the announcer is off here", test(function()
    cluster:service("web", V4)
    cluster:slice("web-1", "web", { { nodeName = "node1" } })
    until_said("announcer-off", "this moonlb does not announce")
  end))

  it("has a node that lacks what it needs to announce", test(function()
    cluster:slice("web-1", "web", { { nodeName = "node1" } })
    cluster:service("web", V4)
    local it = explain.report(facts.of_daemon({ settings = { node_name = "node1" }, services = cluster.services,
      announcer_error = "netlink: Operation not permitted", connection = { client = cluster.client } }, "demo/web"))
    assert.equal("announcer-failed", it.diagnosis, it.sentence)
    assert.matches("node node1 cannot announce: netlink: Operation not permitted", it.sentence)
  end))

  it("is about to be answered: it is probed", test(function()
    start({ probe = "rfc5227" })
    serve()
    until_said("being-taken", "node node1 is about to announce " .. V4 .. " (probing)")
  end))

  it("is not answered while the pulse is mute", test(function()
    start()
    serve()
    pulse.stats = function() return { muted = "gap" } end
    until_said("mute", "its pulse is mute (the process was not run")
  end))

  describe("with heartbeats", function()
    local GET = { ["/api/v1/namespaces/kube-system"] = { metadata = { uid = "cluster" } } }

    local function with_key()
      local key = base64.encode(("k"):rep(32))
      local list = cluster.client.list
      cluster.client.get = function(_, path)
        if path:find("discovery", 1, true) then return {} end
        return GET[path], "not found", "NotFound"
      end
      cluster.client.list = function(self, path, options, on_page)
        if not path:find("secrets", 1, true) then return list(self, path, options, on_page) end
        on_page({ { metadata = { namespace = "kube-system", name = "moonlb-heartbeat", resourceVersion = "1" },
          data = { current = key } } })
        return "1"
      end
    end

    local function play_pulse()
      for _, name in ipairs({ "set_keys", "heartbeat", "say", "retell", "set_own_macs" }) do
        pulse[name] = function() return true end
      end
      pulse.heard = function() return {} end
    end

    local function hear(values)
      local frame = { type = "heartbeat", index = 2, slot = 1, from = "node2", mac = "02:00:00:00:00:22", digest = 0,
        heard = {}, want = {}, relays = {}, statements = {}, whole = { id = 1, index = 1, total = 1 } }
      for name, value in pairs(values) do frame[name] = value end
      parts.tell(frame)
    end

    -- The embedded pulse's tick, until it is said.
    local function until_beaten(code, wrong)
      local it
      local is_said = pcall(loop.until_true, function()
        parts.tell({ type = "beat" })
        it = report()
        return it.diagnosis == code and it.sentence:find(wrong, 1, true)
      end, 5)
      assert(is_said, it.sentence)
      return it
    end

    local function begin(place, spec)
      with_key()
      local make = parts.start_pulse
      parts.start_pulse = function(on_event)
        make(on_event)
        play_pulse()
        return pulse
      end
      cluster:slice("web-1", "web", { { nodeName = place or "node1", conditions = { ready = true } } })
      start({ heartbeat = true })
      cluster:service("web", V4, spec)
    end

    it("waits for the key", test(function()
      cluster.client.get = function() return nil, "connection refused", "ECONNREFUSED" end
      start({ heartbeat = true })
      serve()
      until_said("no-key", "nodes cannot agree who announces: the cluster's identity is not known")
    end))

    it("cannot speak on the interface", test(function()
      local make = kernel.parts
      parts = make(nl)
      local begin_pulse = parts.start_pulse
      with_key()
      parts.start_pulse = function(on_event)
        pulse = begin_pulse(on_event)
        play_pulse()
        pulse.attach = function() return nil, "packet socket: Operation not permitted", "EPERM" end
        return pulse
      end
      cluster:slice("web-1", "web", { { nodeName = "node1", conditions = { ready = true } } })
      start({ heartbeat = true })
      cluster:service("web", V4)
      until_said("segment-failed", "node node1 cannot speak on the interface: packet socket: Operation not permitted")
    end))

    it("is drained, and nobody else is there", test(function()
      begin()
      until_beaten("well", "announced by node node1")
      node.peers:on_node({ metadata = { annotations = { ["moonlb.io/drain"] = "true" } } })
      loop.until_true(function() return report().nodes[1].is_drained end, 5)
      node.placement:remove(node.groups:of("demo/web").id)
      node:place("demo/web")
      until_beaten("all-drained", "every node is drained")
    end))

    it("belongs to a node that is heard, and to one that fell silent", test(function()
      begin()
      loop.until_true(function() return node.placement.segments[2] end, 5, "a segment")
      local group = node.groups:of("demo/web")
      hear({ statements = { { heartbeat.id(group.id), 9, false } } })
      local it = until_beaten("well", "announced by node node2")
      assert.equal("node2", it.owner.node)
      assert.same({ 1, 2 }, { it.nodes[1].rank, it.nodes[2].rank })
      -- What this node lacks is nothing to those who reach the other.
      nl.tell({ type = "link", action = "new", index = 2, name = "eth0", mac = "m2", is_up = false })
      loop.until_true(function() return node.host.view.links[2].is_up == false end, 5, "the link is down")
      pulse.heard = function() return { [1] = runtime.boottime() } end	-- it goes on to say so
      until_beaten("well", "announced by node node2")
      nl.tell({ type = "link", action = "new", index = 2, name = "eth0", mac = "m2", is_up = true, is_running = true })
      loop.until_true(function() return node.host.view.links[2].is_up end, 5, "the link is up")
      pulse.heard = function() return {} end
      -- This node may not take over: then the owner's silence is the cause.
      node.placement:set_leaving(true)
      until_beaten("owner-silent", "node node2 holds the claim on " .. V4 .. " and is not heard for")
    end))

    it("is Local, and the node with its endpoint fell silent: that is the cause", test(function()
      begin("node2", { externalTrafficPolicy = "Local" })
      loop.until_true(function() return node.placement.segments[2] end, 5, "a segment")
      hear({ statements = { { heartbeat.id(node.groups:of("demo/web").id), 9, false } } })
      until_beaten("well", "announced by node node2")
      pulse.heard = function() return {} end
      local it = until_beaten("owner-silent", "node node2 holds the claim on " .. V4 .. " and is not heard for")
      assert.matches("whether its moonlb hangs", it.remedy)
    end))

    it("shows nodes that were never heard, and why that may be", test(function()
      begin()
      local list = cluster.client.list
      cluster.client.list = function(self, path, options, on_page)
        if path ~= "/api/v1/nodes" or options.field_selector then return list(self, path, options, on_page) end
        on_page({ { metadata = { name = "node1" } }, { metadata = { name = "node9" } } })
        return "1"
      end
      local it = until_beaten("well", "announced by node node1")
      assert.same({ "node1", "node9", false }, { it.nodes[1].name, it.nodes[2].name, it.nodes[2].qualifies })
      assert.matches("node9 +no +never heard here: no moonlb runs there, or", page.page(it, false))
    end))
  end)
end)
