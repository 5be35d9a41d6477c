-- The main job end to end: a Service is created, gets an address, answers on the LAN; and what happens to it when
-- moonlb is stopped, killed, paused, started again. Judged from the namespace `client` by arping and curl.
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")

local NODE_SLICES = "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices"

describe("moonlb on a LAN", function()
  it("gives a Service an address, answers for it, and is silent when it is deleted", lab.test(function(it)
    it:moonlb()
    it:service("web")
    local ip = it:until_address("web")
    assert.equal("10.77.0.128", ip)
    assert.is_true(it:is_answered(ip))
    assert.matches("hello from node1", it:curl(ip))
    assert.is_true(it:is_on_node(ip))
    local object = it:get("web")
    assert.equal("node1", object.metadata.annotations["kube-vip.io/vipHost"])
    assert.equal("VIP", object.status.loadBalancer.ingress[1].ipMode)
    assert.equal(80, object.status.loadBalancer.ingress[1].ports[1].port)
    loop.until_true(function() return it:has_event("web", "Announcing", ip .. " on eth0 of node node1") end, 10)
    it:delete("web")
    loop.until_true(function() return not it:is_on_node(ip) end, 1, "off the node")
    assert.is_false(it:is_answered(ip))
  end))

  it("serves both families of a dual stack Service", lab.test(function(it)
    it:moonlb()
    it:service("web", { ipFamilyPolicy = "PreferDualStack" })
    assert.equal("10.77.0.128,fd77::1:0", it:until_address("web", "10.77.0.128,fd77::1:0"))
    assert.matches("hello from node1", it:curl("10.77.0.128"))
    assert.matches("hello from node1", it:curl("fd77::1:0"))
  end))

  it("stops cleanly on SIGTERM: silent, off the node, ARP settings and status as they were", lab.test(function(it)
    local settings = { "sysctl", "-n", "net.ipv4.conf.eth0.arp_ignore", "net.ipv4.conf.eth0.arp_announce" }
    local before = it:on("node1", table.unpack(settings)).output
    local moonlb = it:moonlb()
    it:service("web")
    local ip = it:until_address("web")
    assert.not_equal(before, it:on("node1", table.unpack(settings)).output)
    it:signal(moonlb, "sigterm")
    assert.equal(0, moonlb:wait(10))
    assert.is_false(it:is_answered(ip))
    assert.is_false(it:is_on_node(ip))
    assert.equal(before, it:on("node1", table.unpack(settings)).output)
    assert.equal(ip, it:address("web"))
  end))

  it("is silent at once when killed or stopped, and answers again when it goes on", lab.test(function(it)
    local moonlb = it:moonlb()
    it:service("web")
    local ip = it:until_address("web")
    it:signal(moonlb, "sigstop")
    it:until_stopped(moonlb)
    assert.is_false(it:is_answered(ip))
    it:signal(moonlb, "sigcont")
    loop.until_true(function() return it:is_answered(ip) end, 10, "answered again")
    it:signal(moonlb, "sigkill")
    moonlb:wait(5)
    assert.is_false(it:is_answered(ip))
    assert.is_true(it:is_on_node(ip))
  end))

  it("keeps what is still its own after kill -9, untouched, connections too, and sweeps the rest", lab.test(function(it)
    local moonlb = it:moonlb()
    it:service("web")
    it:service("gone")
    local ip, stray = it:until_address("web"), it:until_address("gone")
    local server = it:start("node1", "socat", "TCP-LISTEN:7,fork,reuseaddr", "EXEC:cat")
    loop.until_true(function() return it:on("node1", "ss", "-ltn").output:find(":7 ", 1, true) end, 5, "server")
    local client = it:start("client", "socat", "-", "TCP:" .. ip .. ":7")
    client:write("before\n")
    assert.is_true(client:wait_for(function() return client:output():find("before") end, 5))
    it:signal(moonlb, "sigkill")
    moonlb:wait(5)
    it:delete("gone")
    local monitor = it:start("node1", "ip", "-o", "monitor", "address")
    local version = it:get("web").metadata.resourceVersion
    moonlb = it:moonlb()
    loop.until_true(function() return it:is_answered(ip) end, 10, "answered again")
    loop.until_true(function() return not it:is_on_node(stray) end, 10, "stray swept")
    client:write("after\n")
    assert.is_true(client:wait_for(function() return client:output():find("after") end, 5))
    assert.is_nil(monitor:output():find(ip .. "/", 1, true), monitor:output())
    assert.matches("Deleted .*" .. stray .. "/", monitor:output())
    assert.equal(version, it:get("web").metadata.resourceVersion)
    it:signal(moonlb, "sigterm")
    moonlb:wait(10)
    local arp = it:on("node1", "sysctl", "-n", "net.ipv4.conf.eth0.arp_ignore", "net.ipv4.conf.eth0.arp_announce")
    assert.equal("0\n0\n", arp.output)
    server:kill("sigterm")
  end))

  -- Requests one after another, each with the time that TCP needs to send its SYN again.
  local CURLS = [[
    while :; do
      curl -s --max-time 5 -o /dev/null "http://$0/" && echo ok || echo "failed $?"
      sleep 0.05
    done]]

  it("is reached by every request while addresses are flushed, the MAC changes, and moonlb is killed and comes back",
    lab.test(function(it)
      local moonlb = it:moonlb()
      it:service("web")
      local ip = it:until_address("web")
      local client = it:start("client", "sh", "-c", CURLS, ip)
      local function until_more(count)
        local _, before = client:output():gsub("ok\n", "")
        loop.until_true(function() return select(2, client:output():gsub("ok\n", "")) >= before + count end, 20,
          count .. " more requests")
      end
      until_more(3)
      it:on("node1", "ip", "address", "flush", "dev", "lo", "to", ip)
      until_more(5)
      it:on("node1", "ip", "link", "set", "eth0", "address", "02:00:00:00:0a:42")
      until_more(5)
      it:signal(moonlb, "sigkill")
      moonlb:wait(5)
      it:moonlb()
      until_more(5)
      assert.is_nil(client:output():find("failed"), client:output())
      it:signal(client, "sigkill")
    end))

  it("goes on announcing while the API is away", lab.test(function(it)
    it:moonlb()
    it:service("web")
    local ip = it:until_address("web")
    it.server:stop()
    assert.is_true(it:is_answered(ip))
    it:on("switch", "ip", "link", "set", "p-node1", "down")
    loop.until_true(function() return not it:is_answered(ip) end, 10, "silent")
    it:on("switch", "ip", "link", "set", "p-node1", "up")
    loop.until_true(function() return it:is_answered(ip) end, 10, "answered again")
    assert.matches("hello from node1", it:curl(ip))
  end))

  it("replaces a pool's address that a stranger holds, and waits for a static one", lab.test(function(it)
    it:on("client", "ip", "address", "add", "10.77.0.128/32", "dev", "eth0")
    it:on("client", "ip", "address", "add", "10.77.0.66/32", "dev", "eth0")
    it:moonlb()
    it:service("static", { loadBalancerIP = "10.77.0.66" })
    it:service("web")
    assert.equal("10.77.0.129", it:until_address("web"))
    loop.until_true(function() return it:has_event("static", "AddressConflict", "10.77.0.66 is in use by") end, 10)
    assert.equal("", it:address("static"))
    assert.is_false(it:is_on_node("10.77.0.66"))
    it:on("client", "ip", "address", "delete", "10.77.0.66/32", "dev", "eth0")
    assert.equal("10.77.0.66", it:until_address("static"))
  end, { timeout = 90 }))

  it("announces externalTrafficPolicy Local only while an endpoint is on the node", lab.test(function(it)
    it:moonlb()
    it:service("web", { externalTrafficPolicy = "Local" })
    local function slice(node)
      local object = { apiVersion = "discovery.k8s.io/v1", kind = "EndpointSlice", addressType = "IPv4",
        metadata = { name = "web-1", namespace = "demo", labels = { ["kubernetes.io/service-name"] = "web" } },
        endpoints = { { addresses = { "10.0.0.1" }, nodeName = node, conditions = { ready = true } } },
        ports = { { name = "", port = 80, protocol = "TCP" } } }
      return object
    end
    assert(it.kube:create(NODE_SLICES, slice("node9")))
    loop.until_true(function()
      return (it:get("web").metadata.annotations or {})["moonlb.io/assigned"]
    end, 10, "assigned")
    local ip = it:get("web").metadata.annotations["kube-vip.io/loadbalancerIPs"]
    assert.is_false(it:is_answered(ip))
    assert.equal("", it:address("web"))
    assert(it.kube:merge_patch(NODE_SLICES .. "/web-1", { endpoints = slice("node1").endpoints }))
    assert.equal(ip, it:until_address("web"))
    assert.is_true(it:is_answered(ip))
    assert(it.kube:merge_patch(NODE_SLICES .. "/web-1", { endpoints = slice("node9").endpoints }))
    loop.until_true(function() return not it:is_answered(ip) end, 10, "silent")
  end))

  it("says which capability is missing, and goes on trying", lab.test(function(it)
    local argv = { "setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw", it.nodes.program, "run",
      "--kubeconfig", it.nodes.kubeconfig, "--node-name", "node1", "--port", "0" }
    local moonlb = it:start("node1", table.unpack(argv))
    it:service("web")
    loop.until_true(function() return it:has_event("web", "AnnounceFailed", "CAP_NET_RAW") end, 15, "Event")
    assert.is_true(moonlb:is_running())
    assert.is_false(it:is_on_node("10.77.0.128"))
    it:signal(moonlb, "sigterm")
    moonlb:wait(10)
  end))
end)
