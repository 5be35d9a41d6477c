local async = require("moonlb.async")
local loop = require("spec.support.loop")
local null = require("cjson").null
local upnp_lab = require("spec.support.upnp_lab")

local test, ALONE = upnp_lab.test, upnp_lab.ALONE

describe("a port on a gateway in secure mode", function()
  it("leads from the internet to the VIP, and the Service says so", test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip) })
    assert.same({ ("32380 -> %s:80"):format(ip) }, router:rules())
    assert.matches("hello from node1", router:curl(32380))
    assert.matches("^moonlb %x+%-%x+", router:list()[1].description)
    upnp_lab.until_said(it, "web", "192.0.3.1:32380/TCP -> 80")
    upnp_lab.until_event(it, "web", "PortMapped", "192.0.3.1:32380/TCP leads to port 80 of " .. ip)
  end))

  it("is opened for TCP and UDP alike, each port of its own", test(function(it, router)
    router:start()
    upnp_lab.service(it, "dns", "53=32053, web=32380",
      { { name = "dns", port = 53, protocol = "UDP" }, { name = "dns-tcp", port = 53, protocol = "TCP" },
        { name = "web", port = 80, protocol = "TCP" } })
    it:moonlb("node1", ALONE)
    local ip = it:until_address("dns")
    router:until_mapped({ ("TCP 32053 %s:53"):format(ip), ("TCP 32380 %s:80"):format(ip),
      ("UDP 32053 %s:53"):format(ip) })
    it:start("node1", "socat", ("UDP-LISTEN:53,bind=%s,fork"):format(ip), "SYSTEM:echo by UDP")
    loop.until_true(function()
      return it:on("inet", "sh", "-c", "echo hello | socat -t 1 - UDP:192.0.3.1:32053").output:find("by UDP")
    end, 10, "UDP from the internet")
    assert.matches("hello from node1", router:curl(32380))
  end))

  it("follows the Service: a port added, moved, removed, the annotation gone, the Service deleted",
    test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip) })
    upnp_lab.patch(it, "web", { metadata = { annotations = { ["moonlb.io/upnp-ports"] = "80=32380, 81=32381" } },
      spec = { ports = { { name = "a", port = 80, protocol = "TCP" }, { name = "b", port = 81, protocol = "TCP" } } } })
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip), ("TCP 32381 %s:81"):format(ip) })
    upnp_lab.until_said(it, "web", "192.0.3.1:32380/TCP -> 80, 192.0.3.1:32381/TCP -> 81")
    upnp_lab.patch(it, "web", { metadata = { annotations = { ["moonlb.io/upnp-ports"] = "80=32480" } },
      spec = { ports = { { name = "a", port = 80, protocol = "TCP" } } } })
    router:until_mapped({ ("TCP 32480 %s:80"):format(ip) })
    assert.matches("hello from node1", router:curl(32480))
    upnp_lab.patch(it, "web", { metadata = { annotations = { ["kube-vip.io/forwardUPNP"] = null } } })
    router:until_mapped({})
    upnp_lab.until_said(it, "web", nil)
    upnp_lab.patch(it, "web", { metadata = { annotations = { ["kube-vip.io/forwardUPNP"] = "true" } } })
    router:until_mapped({ ("TCP 32480 %s:80"):format(ip) })
    it:delete("web")
    router:until_mapped({})
    loop.until_true(function() return not it:is_on_node(ip) end, 10, "the address off the node")
  end))

  it("follows the Service to another address", test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip) })
    upnp_lab.patch(it, "web", { spec = { loadBalancerIP = "10.77.0.77" } })
    it:until_address("web", "10.77.0.77")
    router:until_mapped({ "TCP 32380 10.77.0.77:80" })
    assert.matches("hello from node1", router:curl(32380))
  end))

  it("is opened for every Service that does not refuse, by kube-vip's enableUPNP", test(function(it, router)
    router:start({ permissions = "allow 0-65535 10.77.0.0/24 0-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n" })
    it:service("web")
    it:service("private", nil, { ["kube-vip.io/forwardUPNP"] = "false" })
    it:moonlb("node1", { "--heartbeat", "false" }, { "enableUPNP=true" })
    local ip = it:until_address("web")
    it:until_address("private")
    router:until_mapped({ ("TCP 80 %s:80"):format(ip) })
    assert.matches("hello from node1", router:curl(80))
    loop.until_true(function() return it.output.node1:find("UPnP opens ports to the internet", 1, true) end, 5,
      "warning")
    assert.matches("UPnP opens ports to the internet[^\n]*ports=1[^\n]*services=1", it.output.node1)
  end))

  it("is closed at a clean stop, before the address goes", test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=32380")
    local node = it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip) })
    it:signal(node, "sigterm")
    assert(node:wait(10))
    assert.same({}, router:mapped())
    assert.same({}, router:rules())
    assert.is_false(it:is_on_node(ip))
  end))

  it("stays open after kill -9, and is taken up again by the next run", test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=32380")
    local node = it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip) })
    it:signal(node, "sigkill")
    assert(node:wait(10))
    assert.same({ ("TCP 32380 %s:80"):format(ip) }, router:mapped())
    upnp_lab.patch(it, "web", { metadata = { annotations = { ["moonlb.io/upnp-ports"] = "80=32480" } } })
    it:moonlb("node1", ALONE)
    router:until_mapped({ ("TCP 32480 %s:80"):format(ip) })
    assert.matches("hello from node1", router:curl(32480))
  end))

  it("left by a crash is closed by the next run, also when its Service is gone; a stranger's stays",
    test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=32380")
    local node = it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip) })
    it:on("client", "upnpc", "-u", "http://10.77.0.1:5000/rootDesc.xml", "-a", "10.77.0.250", "80", "32999", "TCP")
    it:signal(node, "sigkill")
    assert(node:wait(10))
    it:delete("web")
    it:moonlb("node1", ALONE)
    router:until_mapped({ "TCP 32999 10.77.0.250:80" })
    loop.until_true(function() return not it:is_on_node(ip) end, 10, "the address off the node")
  end))

  it("is renewed before its lease is over", test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", { "--upnp", "--heartbeat", "false", "--upnp-lease", "4" })
    local ip = it:until_address("web")
    local line = ("TCP 32380 %s:80"):format(ip)
    router:until_mapped({ line })
    -- Three leases long, on the router's own clock: each look finds it, and each finds a lease that is not over.
    local renewals, last = 0, 0
    loop.until_true(function()
      local entry = router:list()[1]
      assert.truthy(entry, "the mapping was gone")
      if entry.lease > last then renewals = renewals + 1 end
      last = entry.lease
      return renewals > 6
    end, 40, "renewals")
  end))

  -- How many of the Services say that their ports are open. nft(8) is asked when that is so: it begins anew whenever
  -- the rules change while it reads them, and with many that come one after the other it may do so without end.
  local function open(it)
    local count = 0
    assert(it.kube:list("/api/v1/namespaces/demo/services", {}, function(items)
      for _, object in ipairs(items) do
        if (object.metadata.annotations or {})["moonlb.io/upnp"] then count = count + 1 end
      end
    end))
    return count
  end

  -- This gateway reads all its rules for each request, so that it could not close as many within the time of a clean
  -- stop, and 100 of them take a busy machine minutes.
  it("is opened for each of 40 Services, and closed for those that go", test(function(it, router)
    router:start()
    for i = 1, 40 do upnp_lab.service(it, "s" .. i, "80=" .. 32000 + i) end
    it:moonlb("node1", ALONE)
    loop.until_true(function()
      async.sleep(0.5)
      return open(it) == 40
    end, 120, "40 mappings")
    assert.equal(40, #router:rules())
    assert.matches("hello from node1", router:curl(32012))
    it:delete("s12")
    loop.until_true(function() return #router:rules() == 39 end, 20, "39 mappings")
    assert.is_nil(router:curl(32012))
    assert.matches("hello from node1", router:curl(32011))
  end, { configmap = { ["range-global"] = "10.77.0.20-10.77.0.199" }, timeout = 180 }))
end)
