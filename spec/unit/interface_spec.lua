local interface = require("moonlb.announcer.interface")

local function link(index, name, changes)
  local it = { index = index, name = name, mac = ("02:00:00:00:00:%02x"):format(index),
    is_up = true, is_running = true }
  for key, value in pairs(changes or {}) do it[key] = value end
  return it
end

local function entry(index, ip, prefix, changes)
  local it = { index = index, address = ip, prefix = prefix, family = ip:find(":") and 6 or 4, scope = "global",
    protocol = 0 }
  for key, value in pairs(changes or {}) do it[key] = value end
  return it
end

local function view()
  return {
    links = { link(1, "lo", { is_loopback = true }), link(2, "eth0"), link(3, "eth1"), link(4, "kube-ipvs0"),
      link(5, "moonlb-0a1b2c3d") },
    addresses = {
      entry(1, "127.0.0.1", 8, { scope = "host" }), entry(1, "10.1.0.9", 32, { protocol = interface.PROTOCOL }),
      entry(2, "10.1.0.2", 24), entry(2, "fd01::2", 64), entry(2, "fe80::2", 64, { scope = "link" }),
      entry(3, "10.2.0.2", 16), entry(3, "10.2.9.2", 24), entry(4, "10.1.0.77", 32), entry(5, "10.1.0.78", 32),
    },
    routes = { [4] = { index = 2, gateway = "10.1.0.1", prefix = 0 } },
  }
end

local function choose(ip, annotation, settings, v)
  local found, message, code = interface.choose(v or view(), ip, annotation, settings or {})
  return found and found.name, message, code
end

describe("announcer.interface", function()
  describe("choose", function()
    it("takes the default route's without configuration, whatever the subnet", function()
      assert.equal("eth0", choose("10.2.0.9"))
    end)

    it("prefers the annotation, then vip_servicesinterface, then vip_interface", function()
      assert.equal("eth1", choose("10.1.0.9", "eth1", { services_interface = "eth0", interface = "eth0" }))
      assert.equal("eth1", choose("10.1.0.9", nil, { services_interface = "eth1", interface = "eth0" }))
      assert.equal("eth1", choose("10.1.0.9", nil, { interface = "eth1" }))
      assert.equal("eth1", choose("10.1.0.9", "", { services_interface = "", interface = "eth1" }))
    end)

    it("takes the interface whose subnet holds the address with auto, else the default route's", function()
      assert.equal("eth1", choose("10.2.0.9", "auto"))
      assert.equal("eth0", choose("192.168.9.9", "auto"))
      assert.equal("eth0", choose("fd01::9", "auto"))
    end)

    it("takes the longest prefix of overlapping subnets", function()
      local v = view()
      v.addresses[#v.addresses + 1] = entry(2, "10.2.9.5", 28)
      assert.equal("eth0", choose("10.2.9.9", "auto", nil, v))
      assert.equal("eth1", choose("10.2.9.99", "auto", nil, v))
    end)

    it("takes the other family's default route, then the subnet, where there is none", function()
      assert.equal("eth0", choose("fd99::9"))
      local v = view()
      v.routes = {}
      assert.equal("eth1", choose("10.2.0.9", nil, nil, v))
    end)

    it("says which interface is missing and who named it", function()
      local name, message, code = choose("10.1.0.9", "eth7")
      assert.is_nil(name)
      assert.equal("interface eth7 (annotation kube-vip.io/serviceInterface) does not exist on this node", message)
      assert.equal("InterfaceMissing", code)
    end)

    it("says what would help where nothing leads to the address", function()
      local _, message, code = choose("192.168.9.9", nil, nil, { links = {}, addresses = {}, routes = {} })
      assert.matches("no default route.*name one by vip_interface", message)
      assert.equal("InterfaceMissing", code)
    end)
  end)

  describe("trouble", function()
    it("names what keeps a link from serving", function()
      assert.is_nil(interface.trouble(link(2, "eth0")))
      assert.equal("interface eth0 is down", interface.trouble(link(2, "eth0", { is_up = false })))
      assert.equal("interface eth0 has no carrier", interface.trouble(link(2, "eth0", { is_running = false })))
    end)
  end)

  describe("fingerprint", function()
    local function print_of(change, names)
      local v = view()
      change(v)
      return interface.fingerprint(v, names or {})
    end
    local before = print_of(function() end)

    it("does not see links of Pods come and go, nor what IPVS and we do", function()
      assert.equal(before, print_of(function(v)
        v.links[9] = link(9, "veth12345")
        v.addresses[#v.addresses + 1] = entry(9, "fe80::9", 64, { scope = "link" })
        v.addresses[#v.addresses + 1] = entry(4, "10.96.0.1", 32)
        v.addresses[#v.addresses + 1] = entry(1, "10.1.0.10", 32, { protocol = interface.PROTOCOL })
      end))
    end)

    it("sees links, addresses and routes that decide", function()
      for _, change in ipairs({
        function(v) v.links[2].is_running = false end,
        function(v) v.links[3].name = "lan0" end,
        function(v) v.links[2].mac = "02:00:00:00:00:77" end,
        function(v) table.remove(v.addresses, 3) end,
        function(v) v.routes[4].gateway = "10.1.0.3" end,
        function(v) v.routes[6] = { index = 3, gateway = "fe80::1" } end,
      }) do assert.not_equal(before, print_of(change)) end
    end)

    it("sees a link by a name that somebody uses", function()
      local function appear(v) v.links[9] = link(9, "eth7") end
      assert.equal(before, print_of(appear))
      assert.not_equal(before, print_of(appear, { eth7 = true }))
    end)
  end)

  describe("host_owner", function()
    it("counts what lies on a segment, not lo, kube-ipvs0 or a macvlan of ours", function()
      assert.equal("eth0", interface.host_owner(view(), "10.1.0.2"))
      for _, ip in ipairs({ "10.1.0.9", "10.1.0.77", "10.1.0.78", "10.1.0.3" }) do
        assert.is_nil(interface.host_owner(view(), ip))
      end
    end)
  end)

  describe("excluded", function()
    local by_address = {}
    for _, item in ipairs(interface.excluded(view(), "n1")) do by_address[item.first] = item.reason end

    it("holds the node's addresses, gateways, and the ends of its segments", function()
      assert.equal("address of eth0 on node n1", by_address["10.1.0.2"])
      assert.equal("gateway of node n1", by_address["10.1.0.1"])
      assert.equal("network address of eth0 on node n1", by_address["10.1.0.0"])
      assert.equal("broadcast address of eth0 on node n1", by_address["10.1.0.255"])
      assert.equal("broadcast address of eth1 on node n1", by_address["10.2.255.255"])
    end)

    it("holds the subnet-router anycast address of an IPv6 segment (RFC 4291 section 2.6.1)", function()
      assert.equal("subnet-router anycast address of eth0 on node n1", by_address["fd01::"])
    end)

    it("leaves out what is ours, IPVS's, link-local or loopback", function()
      for _, ip in ipairs({ "10.1.0.9", "10.1.0.77", "10.1.0.78", "127.0.0.1", "fe80::", "fe80::2" }) do
        assert.is_nil(by_address[ip])
      end
    end)

    it("knows no ends of a /31", function()
      local v = { links = { [2] = link(2, "eth0") }, addresses = { entry(2, "10.3.0.0", 31) }, routes = {} }
      assert.equal(1, #interface.excluded(v, "n1"))
    end)
  end)
end)
