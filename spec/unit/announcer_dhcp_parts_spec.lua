-- What a lease looks like in the API, and how a Service's client is known to servers.
local core = require("moonlb.core.dhcp")
local macvlan = require("moonlb.announcer.dhcp.macvlan")
local record = require("moonlb.announcer.dhcp.record")
local wishes = require("moonlb.announcer.dhcp.wishes")

describe("announcer.dhcp.record", function()
  local LEASE = { address = "10.77.0.150", server = "10.77.0.1", seconds = 3600 }

  it("writes the address first, then server, length and beginning", function()
    assert.equal("10.77.0.150 10.77.0.1 3600 1700000000", record.format(LEASE, 1700000000.7))
    assert.equal("10.77.0.150 10.77.0.1 infinite 5",
      record.format({ address = "10.77.0.150", server = "10.77.0.1", seconds = math.huge }, 5))
  end)

  it("reads what it wrote, on another node's clocks", function()
    local lease, ip = record.read("10.77.0.150 10.77.0.1 3600 1700000000", 4, 1700000100, 50)
    assert.same({ address = "10.77.0.150", server = "10.77.0.1", seconds = 3600, at = -50 }, lease)
    assert.equal("10.77.0.150", ip)
    assert.equal(math.huge, (record.read("10.77.0.150 10.77.0.1 infinite 0", 4, 1e9, 50)).seconds)
  end)

  it("knows no lease that is over, but its address", function()
    assert.is_nil((record.read("10.77.0.150 10.77.0.1 3600 1700000000", 4, 1700003600, 50)))
    local _, ip = record.read("10.77.0.150 10.77.0.1 3600 1700000000", 4, 1700003600, 50)
    assert.equal("10.77.0.150", ip)
    assert.is_not_nil((record.read("10.77.0.150 10.77.0.1 3600 1700000000", 4, 1700003599, 50)))
  end)

  it("knows no lease that begins later than clocks differ", function()
    assert.is_nil((record.read("10.77.0.150 10.77.0.1 3600 1700000061", 4, 1700000000, 50)))
    assert.equal(50, (record.read("10.77.0.150 10.77.0.1 3600 1700000059", 4, 1700000000, 50)).at)
  end)

  it("has the server's DUID in hexadecimal where the address is IPv6 (RFC 8415 section 11)", function()
    local lease = { address = "fd77::150", server = "\0\3\0\1abc", seconds = 3600 }
    assert.equal("fd77::150 00030001616263 3600 5", record.format(lease, 5))
    assert.same({ address = "fd77::150", server = "\0\3\0\1abc", seconds = 3600, at = 50 },
      (record.read("fd77::150 00030001616263 3600 5", 6, 5, 50)))
    assert.is_nil((record.read("fd77::150 0003000161626 3600 5", 6, 5, 50)))
    assert.is_nil((record.read("fd77::150 10.77.0.1 3600 5", 6, 5, 50)))
  end)

  it("knows nothing of a lease of the other family", function()
    local lease, ip = record.read("10.77.0.150 10.77.0.1 3600 5", 6, 5, 50)
    assert.is_nil(lease)
    assert.is_nil(ip)
  end)

  it("knows nothing of a text that makes no sense", function()
    for _, text in ipairs({ "", "10.77.0.150", "10.77.0.150 10.77.0.1 3600", "0.0.0.0 10.77.0.1 3600 1",
      "10.77.0.150 nobody 3600 1", "224.0.0.1 10.77.0.1 3600 1", "fd77::1 10.77.0.1 3600 1",
      "10.77.0.150 10.77.0.1 0 1", "10.77.0.150 10.77.0.1 -1 1", "10.77.0.150 10.77.0.1 4294967296 1",
      "10.77.0.150 10.77.0.1 3600 1 more", "10.77.0.150 10.77.0.1 3600 99999999999999999999", ("9"):rep(200) }) do
      local lease, ip = record.read(text, 4, 100, 100)
      assert.is_nil(lease, text)
      assert.is_nil(ip, text)
    end
    assert.is_nil((record.read(nil, 4, 100, 100)))
  end)
end)

describe("announcer.dhcp.wishes", function()
  local function service(annotations, name)
    return { metadata = { namespace = "demo", name = name or "web", annotations = annotations } }
  end

  it("derives MAC, client-id and the macvlan's name from identity, namespace and name (RFC 4361)", function()
    local it = wishes.of("cluster-a", service())
    assert.equal(core.mac("cluster-a", "demo", "web"), it.mac)
    assert.equal(core.client_id("cluster-a", "demo", "web"), it.client_id)
    assert.matches("^moonlb%-%x%x%x%x%x%x%x%x$", it.name)
    assert.same(it, (wishes.of("cluster-a", service({}))))
    assert.is_nil(it.host_name)
    assert.is_false(it.broadcast)
    assert.equal(2, it.rp_filter)
  end)

  it("is another client for another cluster, and for another Service", function()
    local it = wishes.of("cluster-a", service())
    for _, other in ipairs({ (wishes.of("cluster-b", service())), (wishes.of("cluster-a", service(nil, "wob"))) }) do
      assert.not_equal(it.mac, other.mac)
      assert.not_equal(it.client_id, other.client_id)
      assert.not_equal(it.name, other.name)
    end
  end)

  it("heeds kube-vip's annotations", function()
    local it, problems = wishes.of("a", service({ ["kube-vip.io/hwaddr"] = "02-00-00-00-00-AB",
      ["kube-vip.io/requestedIP"] = "10.77.0.9", ["kube-vip.io/loadbalancerHostname"] = "shop",
      ["kube-vip.io/macvlanName"] = "shop0", ["kube-vip.io/dhcp-broadcast"] = "true",
      ["kube-vip.io/rp_filter"] = "0", ["moonlb.io/dhcp-fqdn"] = "shop.example.org" }))
    local derived = wishes.of("a", service())
    assert.same({ mac = "02:00:00:00:00:ab", requested = "10.77.0.9", host_name = "shop", client_id = "shop",
      name = "shop0", broadcast = true, rp_filter = 0, fqdn = "shop.example.org", duid = derived.duid,
      iaid = derived.iaid }, it)
    assert.same({}, problems)
  end)

  it("says which value makes no sense, and derives in its place", function()
    for name, text in pairs({ hwaddr = "01:00:5e:00:00:01", requestedIP = "10.77.0", loadbalancerHostname = "a b",
      macvlanName = "sixteen-letters-", ["dhcp-broadcast"] = "perhaps", rp_filter = "3" }) do
      local it, problems = wishes.of("a", service({ ["kube-vip.io/" .. name] = text }))
      assert.equal(1, #problems, name)
      assert.matches("kube-vip.io/" .. name, problems[1], 1, true)
      assert.same((wishes.of("a", service())), it)
    end
  end)

  it("makes a client of either family the same one as on another node", function()
    local it = wishes.of("a", service({ ["kube-vip.io/requestedIP"] = "10.77.0.9" }))
    local four, six = wishes.client(it, 4, 1, nil, "10.77.0.8"), wishes.client(it, 6, 1, nil, "fd77::8")
    assert.equal("10.77.0.9", four.requested)
    assert.equal("fd77::8", six.requested)
    assert.equal(it.mac, six.mac)
    -- RFC 4361 section 6.1: 255, IAID, DUID.
    assert.equal(four.client_id, "\255" .. string.pack(">I4", six.iaid) .. six.duid)
  end)

  it("refuses names that would be paths", function()
    for _, name in ipairs({ "..", ".", "a/b", "a b" }) do
      local _, problems = wishes.of("a", service({ ["kube-vip.io/macvlanName"] = name }))
      assert.equal(1, #problems, name)
    end
  end)
end)

describe("announcer.dhcp.macvlan", function()
  local PARENT, OPTIONS = { index = 2, name = "eth0" }, { key = "demo/web", name = "moonlb-00000001",
    mac = "02:00:00:00:00:01", rp_filter = 2 }

  -- A netlink that has `found` under the name asked for.
  local function netlink(found)
    local said = {}
    return {
      said = said,
      link = function() return found end,
      link_delete = function(_, index) said[#said + 1] = "delete " .. index return true end,
      link_set = function(_, index, change)
        said[#said + 1] = ("set %d %s"):format(index, change.mac or tostring(change.up))
        return true
      end,
      set_ipv4_conf = function(_, index, conf)
        said[#said + 1] = ("conf %d %d %d"):format(index, conf.arp_ignore, conf.rp_filter)
        return true
      end,
      macvlan_add = function(_, new)
        said[#said + 1] = ("add %s %s %d %s %s"):format(new.name, new.mac, new.parent, new.mode, new.alias)
        return 9
      end,
    }
  end

  it("makes one that answers no ARP by itself before it is up", function()
    local nl = netlink()
    assert.equal(9, macvlan.ensure(nl, PARENT, OPTIONS))
    assert.same({ "add moonlb-00000001 02:00:00:00:00:01 2 bridge moonlb demo/web", "conf 9 8 2", "set 9 true" },
      nl.said)
  end)

  it("keeps its own one, with the right MAC", function()
    local nl = netlink({ index = 7, kind = "macvlan", alias = "moonlb demo/web", parent = 2, mac = OPTIONS.mac })
    assert.equal(7, macvlan.ensure(nl, PARENT, OPTIONS))
    assert.same({ "conf 7 8 2", "set 7 true" }, nl.said)
    nl = netlink({ index = 7, kind = "macvlan", alias = "moonlb demo/web", parent = 2, mac = "02:00:00:00:00:ff" })
    assert.equal(7, macvlan.ensure(nl, PARENT, OPTIONS))
    assert.same({ "set 7 false", "set 7 02:00:00:00:00:01", "conf 7 8 2", "set 7 true" }, nl.said)
  end)

  it("makes it anew below another parent", function()
    local nl = netlink({ index = 7, kind = "macvlan", alias = "moonlb demo/web", parent = 3, mac = OPTIONS.mac })
    assert.equal(9, macvlan.ensure(nl, PARENT, OPTIONS))
    assert.equal("delete 7", nl.said[1])
  end)

  it("never touches an interface that is somebody else's", function()
    for _, found in ipairs({ { index = 7, kind = "veth" }, { index = 7, kind = "macvlan", parent = 2 },
      { index = 7, kind = "macvlan", alias = "moonlb demo/other", parent = 2 } }) do
      local nl = netlink(found)
      local index, message, code = macvlan.ensure(nl, PARENT, OPTIONS)
      assert.is_nil(index)
      assert.matches("interface moonlb%-00000001 exists", message)
      assert.equal("EEXIST", code)
      assert.same({}, nl.said)
    end
  end)

  it("sweeps its own alone, of Services that want none", function()
    local nl = netlink()
    local links = { [3] = { kind = "macvlan", alias = "moonlb demo/web" }, [4] = { kind = "macvlan" },
      [5] = { kind = "macvlan", alias = "moonlb demo/old" }, [6] = { kind = "veth", alias = "moonlb demo/old" } }
    assert.equal(1, macvlan.sweep(nl, links, function(key) return key == "demo/web" end))
    assert.same({ "delete 5" }, nl.said)
  end)
end)
