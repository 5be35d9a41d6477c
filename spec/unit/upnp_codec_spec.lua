local core = require("moonlb.core.upnp")
local wanted = require("moonlb.announcer.upnp.wanted")
local record = require("moonlb.announcer.upnp.record")

local function ssdp(...) return table.concat({ ... }, "\r\n") .. "\r\n\r\n" end

describe("upnp.encode_search", function()
  it("asks as UDA 1.1 section 1.3.2 says", function()
    assert.equal(ssdp("M-SEARCH * HTTP/1.1", "HOST: 239.255.255.250:1900", "MAN: \"ssdp:discover\"", "MX: 2",
      "ST: urn:x:1"), core.encode_search("urn:x:1", core.SSDP_GROUP, 2))
  end)
end)

describe("upnp.decode_ssdp", function()
  it("reads an answer: names in any case, white space around values", function()
    assert.same({ type = "answer", target = "urn:x:1", boot_id = 7,
      location = { host = "10.0.0.1", port = 5000, path = "/root.xml" } },
      core.decode_ssdp(ssdp("HTTP/1.1 200 OK", "st:  urn:x:1 ", "Location: http://10.0.0.1:5000/root.xml",
        "BOOTID.UPNP.ORG: 7", "EXT:")))
  end)

  it("reads NOTIFY, and which of the two it is", function()
    assert.equal("alive", core.decode_ssdp(ssdp("NOTIFY * HTTP/1.1", "NTS: ssdp:alive", "NT: upnp:rootdevice")).type)
    assert.equal("byebye", core.decode_ssdp(ssdp("NOTIFY * HTTP/1.1", "NTS: ssdp:byebye")).type)
  end)

  it("takes no location that is not http, has a name for host, or could not stand in a request", function()
    for _, url in ipairs({ "https://10.0.0.1/", "http://router.lan/", "http://10.0.0.1:0/", "http://10.0.0.1:65536/",
      "http://10.0.0.1:80x/", "http://10.0.0.1@10.0.0.2/", "http://10.0.0.1/a b",
      "http://[::1/", "http:///x", "http://10.0.0.1/\1",
      "http://10.0.0.1/" .. ("a"):rep(260), "http://010.0.0.1/" }) do
      local message = core.decode_ssdp(ssdp("HTTP/1.1 200 OK", "LOCATION: " .. url))
      assert.is_nil(message and message.location, url)
    end
    assert.same({ host = "fd00::1", port = 80, path = "/" },
      core.decode_ssdp(ssdp("HTTP/1.1 200 OK", "LOCATION: http://[fd00:0::1]")).location)
  end)

  it("refuses what is no message of SSDP", function()
    for _, bytes in ipairs({ "", "\r\n\r\n", "HTTP/1.1 404 No\r\n\r\n", "M-SEARCH * HTTP/1.1\r\n\r\n",
      "NOTIFY * HTTP/1.1\r\n\r\n",
      "HTTP/1.1 200 OK\r\n" .. ("X"):rep(3000),
      "HTTP/1.1 200 OK\r\nLOCATION: http://" .. ("a"):rep(400) .. "\r\n\r\n" }) do
      local message, _, code = core.decode_ssdp(bytes)
      assert.is_nil(message, bytes)
      assert.equal("EBADMSG", code)
    end
  end)
end)

-- A gateway's description, with these services: array of {type, control URL}.
local function description(services, base)
  local parts = {}
  for i, service in ipairs(services) do
    parts[i] = ("<service><serviceType>%s</serviceType><controlURL>%s</controlURL></service>"):format(service[1],
      service[2])
  end
  return "<?xml version=\"1.0\"?><root>" .. (base and "<URLBase>" .. base .. "</URLBase>" or "")
    .. "<device><serviceList>" .. table.concat(parts) .. "</serviceList></device></root>"
end

local IP1, IP2 = "urn:schemas-upnp-org:service:WANIPConnection:1", "urn:schemas-upnp-org:service:WANIPConnection:2"
local PPP, FIREWALL = "urn:schemas-upnp-org:service:WANPPPConnection:1",
  "urn:schemas-upnp-org:service:WANIPv6FirewallControl:1"

local function decode(xml) return core.decode_description(xml, "10.0.0.1", 5000, "/root.xml") end

describe("upnp.decode_description", function()
  it("finds the connections, in order, and the firewall", function()
    assert.same({ connections = { { type = IP2, host = "10.0.0.1", port = 5000, path = "/ctl/ip" },
      { type = PPP, host = "10.0.0.1", port = 5000, path = "/ctl/ppp" } },
      firewall = { type = FIREWALL, host = "10.0.0.1", port = 5000, path = "/ctl/6fc" } },
      decode(description({ { IP2, "/ctl/ip" }, { PPP, "/ctl/ppp" }, { FIREWALL, "/ctl/6fc" } })))
  end)

  it("follows URLBase to another port of the same host, not to another host", function()
    assert.equal(49152, decode(description({ { IP1, "/ctl" } }, "http://10.0.0.1:49152")).connections[1].port)
    local gateway, message, code = decode(description({ { IP1, "/ctl" } }, "http://10.0.0.9:49152"))
    assert.is_nil(gateway)
    assert.matches("its control URL is not on the gateway itself", message, 1, true)
    assert.equal("EBADMSG", code)
  end)

  it("leaves out a service whose requests would go elsewhere, and keeps the other", function()
    local gateway = decode(description({ { IP1, "http://10.0.0.9/ctl" }, { PPP, "/ppp" } }))
    assert.equal(1, #gateway.connections)
    assert.equal(PPP, gateway.connections[1].type)
  end)

  it("takes no type that could forge a header or an element", function()
    assert.is_nil((decode(description({ { IP1 .. "\r\nX: y", "/ctl" } }))))
    assert.is_nil((decode(description({ { IP1 .. "\"", "/ctl" } }))))
  end)

  it("says that something is no gateway", function()
    for _, xml in ipairs({ "", "<", "<root/>", "nothing", description({ { "urn:other", "/x" } }),
      ("<a>"):rep(1000) }) do
      local gateway, message = decode(xml)
      assert.is_nil(gateway)
      assert.matches("offers neither WANIPConnection nor WANPPPConnection", message, 1, true)
    end
    assert.matches("too long", select(2, decode(("x"):rep(131073))))
  end)
end)

describe("upnp.encode_action", function()
  it("escapes values, and drops what XML has no place for", function()
    local xml = core.encode_action(IP1, "AddPortMapping", { { "A", "<&>\1\"x" } })
    assert.matches("<u:AddPortMapping xmlns:u=\"" .. IP1 .. "\"><A>&lt;&amp;&gt;\"x</A></u:AddPortMapping>", xml,
      1, true)
  end)

  it("refuses what is too long", function()
    local xml, _, code = core.encode_action(IP1, "A", { { "A", ("&"):rep(4000) } })
    assert.is_nil(xml)
    assert.equal("EMSGSIZE", code)
  end)
end)

describe("upnp.decode_answer", function()
  it("gives what the elements say, with or without a prefix; the first of a name counts", function()
    assert.same({ NewA = "1", B = "x" },
      core.decode_answer("<s:E><u:R><NewA>1</NewA><m:B>x</m:B><NewA>2</NewA></u:R></s:E>"))
  end)

  it("reads what is cut short as far as it goes", function()
    assert.same({}, core.decode_answer("<s:E><NewA>1"))
    assert.same({}, core.decode_answer(""))
    assert.equal("EMSGSIZE", select(3, core.decode_answer(("<a>"):rep(50000))))
  end)
end)

describe("upnp.error_text", function()
  it("has words for what a gateway refuses", function()
    for _, code in ipairs({ 402, 501, 606, 713, 714, 718, 725, 728 }) do assert.is_string(core.error_text(code)) end
    assert.is_nil(core.error_text(999))
  end)
end)

local function service(annotations, ports, spec)
  local object = { metadata = { annotations = annotations, uid = "u" }, spec = { type = "LoadBalancer",
    ports = ports or { { port = 80.0, protocol = "TCP", name = "web" } } } }
  for name, value in pairs(spec or {}) do object.spec[name] = value end
  return object
end

describe("upnp.wanted", function()
  local ON, OFF = { [wanted.FORWARD] = "true" }, { [wanted.FORWARD] = "false" }

  it("follows kube-vip's two switches", function()
    assert.equal("all", wanted.mode({ upnp_all = true, upnp = true }))
    assert.equal("annotated", wanted.mode({ upnp = true }))
    assert.is_nil(wanted.mode({ upnp = false, upnp_all = false }))
    for mode, counts in pairs({ all = { 1, 1, 0 }, annotated = { 0, 1, 0 } }) do
      for i, annotations in ipairs({ {}, ON, OFF }) do
        assert.equal(counts[i], #wanted.of(service(annotations), mode), mode .. i)
      end
    end
    assert.same({}, (wanted.of(service(ON), nil)))
    assert.same({}, (wanted.of(service(ON, nil, { type = "ClusterIP" }), "all")))
  end)

  it("gives every port of TCP and UDP, as integers; another protocol is said", function()
    local ports, problems = wanted.of(service({}, { { port = 53.0, protocol = "UDP" }, { port = 53.0 },
      { port = 9.0, protocol = "SCTP" } }), "all")
    assert.same({ { protocol = "UDP", port = 53, external_port = 53 },
      { protocol = "TCP", port = 53, external_port = 53 } }, ports)
    assert.same({ "port 9/SCTP: a router maps TCP and UDP alone" }, problems)
  end)

  it("lets an annotation choose the port outside: by number, name, protocol, or alone", function()
    local function outside(text, ports)
      local list = {}
      local found = wanted.of(service({ [wanted.PORTS] = text }, ports), "all")
      for i, port in ipairs(found) do list[i] = port.external_port end
      return table.concat(list, " ")
    end
    local two = { { port = 53.0, protocol = "UDP", name = "dns" }, { port = 53.0, protocol = "TCP", name = "dns-tcp" } }
    assert.equal("32380", outside("80=32380"))
    assert.equal("32380", outside(" 32380 "))
    assert.equal("32053 32053", outside("53=32053", two))
    assert.equal("32053 53", outside("53/UDP=32053", two))
    assert.equal("53 32054", outside("dns-tcp=32054,", two))
  end)

  it("says what is wrong with that annotation, and keeps the Service's own port", function()
    for _, text in ipairs({ "81=1", "80=0", "80=65536", "80", "80=x", "80/SCTP=1", "32380" }) do
      local two = { { port = 80.0 }, { port = 443.0 } }
      local ports, problems = wanted.of(service({ [wanted.PORTS] = text }, two), "all")
      assert.equal(1, #problems, text)
      assert.matches("is not of the form PORT", problems[1], 1, true)
      assert.equal(80, ports[1].external_port)
    end
  end)

  it("knows its own mappings by their description", function()
    assert.equal("8e3c-1", wanted.uid_of(wanted.description("8e3c-1")))
    assert.is_nil(wanted.uid_of("a camera"))
    assert.is_nil(wanted.uid_of("moonlb"))
  end)
end)

describe("upnp.route_of", function()
  local function default(index, gateway, metric, number)
    return { index = index, gateway = gateway, metric = metric, prefix = 0, table = number or 254 }
  end

  it("is the default route of the VIP's own interface, or of the one below a macvlan", function()
    local routes = { default(2, "10.0.0.1", 100), default(3, "10.9.0.1", 200), default(3, "10.9.0.2", 50),
      default(3, "10.9.0.3", 1, 100), { index = 3, gateway = "10.9.0.4", prefix = 8, table = 254, metric = 0 },
      { index = 3, prefix = 0, table = 254, metric = 0 } }
    local route_of = require("moonlb.announcer.upnp").route_of
    assert.equal("10.0.0.1", route_of(routes, { index = 2 }).gateway)
    assert.equal("10.9.0.2", route_of(routes, { index = 3 }).gateway)
    assert.equal("10.9.0.2", route_of(routes, { index = 7, parent = 3 }).gateway)
    assert.is_nil(route_of(routes, { index = 4 }))
  end)
end)

describe("upnp.record", function()
  local WEB = { outside = "203.0.113.7", external_port = 8080, protocol = "TCP", port = 80, address = "10.0.0.9" }
  local DNS = { outside = "203.0.113.7", external_port = 53, protocol = "UDP", port = 53, address = "10.0.0.9" }

  it("says all that is open, in order", function()
    assert.equal("203.0.113.7:53/UDP -> 53, 203.0.113.7:8080/TCP -> 80", record.format({ WEB, DNS }))
    assert.is_nil(record.format({}))
    assert.equal("203.0.113.7:8080/TCP leads to port 80 of 10.0.0.9", record.text(WEB))
    assert.equal("[2001:db8::1]:80/TCP -> 80", record.format({ { outside = "2001:db8::1", external_port = 80,
      protocol = "TCP", port = 80, address = "2001:db8::1" } }))
  end)

  it("makes one entry of status for each outside address", function()
    assert.same({ { ip = "203.0.113.7", ipMode = "Proxy", ports = { { port = 53, protocol = "UDP" },
      { port = 8080, protocol = "TCP" } } } }, record.ingress({ WEB, DNS }))
  end)

  it("tells an outside address that nobody outside reaches", function()
    for _, ip in ipairs({ "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "0.0.0.0" }) do
      assert.matches("is private", record.double_nat(ip), ip)
    end
    assert.is_nil(record.double_nat("203.0.113.7"))
    assert.is_nil(record.double_nat("172.32.0.1"))
    assert.is_string(record.double_nat(nil))
  end)
end)
