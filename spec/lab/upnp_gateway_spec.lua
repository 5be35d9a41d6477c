local gateway = require("spec.support.gateway")
local loop = require("spec.support.loop")
local upnp_lab = require("spec.support.upnp_lab")

local test, ALONE = upnp_lab.test, upnp_lab.ALONE
local LINE = "TCP 32380 %s:80"

local function web(it)
  upnp_lab.service(it, "web", "80=32380")
  it:moonlb("node1", ALONE)
  return it:until_address("web")
end

describe("a gateway", function()
  it("that is absent at start is found when it comes; the Service says meanwhile what is missing",
    test(function(it, router)
    local ip = web(it)
    upnp_lab.until_event(it, "web", "PortMapFailed", "no UPnP gateway answers at 10.77.0.1, the router of eth0")
    assert.is_nil(upnp_lab.said(it, "web"))
    router:start()
    router:until_mapped({ LINE:format(ip) }, 30)
    upnp_lab.until_said(it, "web", "192.0.3.1:32380/TCP -> 80")
  end))

  it("that restarted and forgot gets everything anew", test(function(it, router)
    router:start()
    local ip = web(it)
    router:until_mapped({ LINE:format(ip) })
    router:stop(true)
    assert.same({}, router:rules())
    router:start()
    router:until_mapped({ LINE:format(ip) }, 30)
    assert.matches("hello from node1", router:curl(32380))
  end))

  it("that restarted at another port is found there", test(function(it, router)
    router:start()
    local ip = web(it)
    router:until_mapped({ LINE:format(ip) })
    router:stop(true)
    router:start({ http_port = "5055" })
    loop.until_true(function() return router:rules()[1] == ("32380 -> %s:80"):format(ip) end, 40, "mapped anew")
  end))

  it("that lost one mapping gets it again", test(function(it, router)
    router:start()
    local ip = web(it)
    router:until_mapped({ LINE:format(ip) })
    local body = [[<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:DeletePortMapping ]]
      .. [[xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1"><NewRemoteHost></NewRemoteHost><NewExternalPort>]]
      .. [[32380</NewExternalPort><NewProtocol>TCP</NewProtocol></u:DeletePortMapping></s:Body></s:Envelope>]]
    local result = it:on("node1", "curl", "-s", "--interface", ip, "-H",
      "SOAPAction: \"urn:schemas-upnp-org:service:WANIPConnection:1#DeletePortMapping\"", "--data-binary", body,
      "http://10.77.0.1:5000/ctl/IPConn")
    assert.matches("DeletePortMappingResponse", result.output)
    assert.same({}, router:mapped())
    router:until_mapped({ LINE:format(ip) }, 30)
  end))

  it("that another one takes the place of (the default route changes) is left for that one", test(function(it, router)
    router:start()
    local ip = web(it)
    router:until_mapped({ LINE:format(ip) })
    it:on("router", "ip", "address", "add", "10.77.0.254/24", "dev", "eth0")
    assert.equal(0, it:on("node1", "ip", "route", "replace", "default", "via", "10.77.0.254").code)
    -- Nobody is at home there: what was mapped is taken back, and the Service says what is missing.
    upnp_lab.until_event(it, "web", "PortMapFailed", "no UPnP gateway answers at 10.77.0.254, the router of eth0")
    router:until_mapped({})
    upnp_lab.until_said(it, "web", nil)
    assert.equal(0, it:on("node1", "ip", "route", "replace", "default", "via", "10.77.0.1").code)
    router:until_mapped({ LINE:format(ip) })
    local metrics = it:on("node1", "curl", "-s", "http://127.0.0.1:2112/metrics").output
    assert.matches("moonlb_upnp_mappings{state=\"mapped\"} 1", metrics, 1, true)
    local gateways = {}
    for line in metrics:gmatch("\nmoonlb_upnp_gateway_up(%b{} %d)") do gateways[#gateways + 1] = line end
    assert.same({ "{interface=\"eth0\",router=\"10.77.0.1\"} 1" }, gateways)
  end))

  it("of version 1 alone does as well", test(function(it, router)
    router:start({ force_igd_desc_v1 = "yes" })
    local ip = web(it)
    router:until_mapped({ LINE:format(ip) })
    assert.matches("gateway found[^\n]*service=WANIPConnection:1", it.output.node1)
    assert.matches("hello from node1", router:curl(32380))
  end))

  it("that is not connected is said to be so", test(function(it, router)
    router:start({ ext_ip = false, ext_ifname = "wan1" })
    it:on("router", "ip", "address", "flush", "dev", "wan0")
    web(it)
    upnp_lab.until_event(it, "web", "PortMapFailed", "the gateway says that it is not connected (Disconnected)")
    assert.is_nil(router:curl(32380))
  end))

  it("whose rules forbid it is quoted in words", test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=1080")
    it:moonlb("node1", ALONE)
    it:until_address("web")
    upnp_lab.until_event(it, "web", "PortMapFailed", "port 80/TCP: AddPortMapping: the gateway's rules do not allow it")
    assert.same({}, router:mapped())
  end))

  it("that gave the port to somebody else: who has it is named; when it comes free, it is ours",
    test(function(it, router)
    router:start()
    local taken = it:on("client", "upnpc", "-u", "http://10.77.0.1:5000/rootDesc.xml", "-e", "a camera", "-a",
      "10.77.0.250", "8000", "32380", "TCP")
    assert.matches("is redirected to", taken.output)
    local ip = web(it)
    upnp_lab.until_event(it, "web", "PortMapFailed", "TCP 32380 is mapped to 10.77.0.250:8000 (\"a camera\")")
    router:until_mapped({ "TCP 32380 10.77.0.250:8000" })
    it:on("client", "upnpc", "-u", "http://10.77.0.1:5000/rootDesc.xml", "-d", "32380", "TCP")
    router:until_mapped({ LINE:format(ip) }, 60)
  end))

  it("of version 2 chooses another port where that is allowed, and it is published", test(function(it, router)
    router:start()
    it:on("client", "upnpc", "-u", "http://10.77.0.1:5000/rootDesc.xml", "-a", "10.77.0.250", "8000", "32380", "TCP")
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", { "--upnp", "--heartbeat", "false", "--upnp-any-port" })
    local ip = it:until_address("web")
    loop.until_true(function() return #router:list() == 2 end, 20, "two mappings")
    local port
    for _, entry in ipairs(router:list()) do
      if entry.address == ip then port = entry.external_port end
    end
    assert.not_equal(32380, port)
    upnp_lab.until_said(it, "web", ("%s:%d/TCP -> 80"):format(gateway.OUTSIDE, port))
    upnp_lab.until_event(it, "web", "PortMapped", "port 32380 was taken")
    assert.matches("hello from node1", router:curl(port))
  end))

  it("has its outside address shown in status where that is asked for, until the port is closed",
    test(function(it, router)
    router:start()
    upnp_lab.service(it, "web", "80=32380")
    upnp_lab.service(it, "api", "80=32381")
    it:moonlb("node1", { "--upnp", "--heartbeat", "false", "--upnp-status" })
    for _, name in ipairs({ "web", "api" }) do
      loop.until_true(function() return it:address(name):find(",192.0.3.1", 1, true) end, 20, "outside address")
    end
    -- It is the router's: many Services have it, and that is no conflict.
    for _, name in ipairs({ "web", "api" }) do
      for _, reason in ipairs({ "AddressConflict", "AddressRefused", "AllocatorConflict" }) do
        assert.is_nil(it:has_event(name, reason, ""))
      end
    end
    local entry = it:get("web").status.loadBalancer.ingress[2]
    assert.equal("Proxy", entry.ipMode)
    assert.equal(32380, entry.ports[1].port)
    upnp_lab.patch(it, "web", { metadata = { annotations = { ["kube-vip.io/forwardUPNP"] = "false" } } })
    loop.until_true(function() return not it:address("web"):find("192.0.3.1", 1, true) end, 20, "gone from status")
    router:until_mapped({ ("TCP 32381 %s:80"):format(it:address("api"):match("^[^,]+")) })
  end))
end)
