local loop = require("spec.support.loop")
local netlink = require("moonlb.core.netlink")
local netns = require("spec.support.netns")
local uv = require("luv")

local root = os.getenv("MOONLB_ROOT") or "."
local TAG = 0xad

local function find(list, fields)
  for _, entry in ipairs(list) do
    local is_same = true
    for name, value in pairs(fields) do is_same = is_same and entry[name] == value end
    if is_same then return entry end
  end
end

local function addresses_by_ip(device)
  local out = {}
  for _, info in ipairs(netns.json("addr", "show", "dev", device)[1].addr_info) do
    out[info["local"] .. "/" .. math.tointeger(info.prefixlen)] = info
  end
  return out
end

local function sysctl(device, name)
  local file = assert(io.open(("/proc/sys/net/ipv4/conf/%s/%s"):format(device, name)))
  local value = math.tointeger(file:read("n"))
  file:close()
  return value
end

local function assert_fails(code, ok, message, got)
  assert.is_nil(ok)
  assert.equal(code, got, message)
  return message
end

-- The network: eth0 has carrier (its peer in `lan` is up), eth1 has none (its peer is down).
local nl, lo, eth0, eth1

setup(function()
  netns.add("lan")
  netns.veth("eth0", "p0", "lan")
  netns.veth("eth1", "p1", "lan")
  netns.run("ip", "-n", "lan", "link", "set", "p1", "down")
  lo, eth0, eth1 = netns.index("lo"), netns.index("eth0"), netns.index("eth1")
  nl = assert(netlink.open())
end)

teardown(function() nl:close() end)

describe("nl:links and nl:link", function()
  it("tell what ip(8) tells", function()
    local links = nl:links()
    local judged = netns.json("link")
    assert.equal(#judged, #links)
    for _, expected in ipairs(judged) do
      local link = assert(find(links, { index = math.tointeger(expected.ifindex) }))
      assert.equal(expected.ifname, link.name)
      assert.equal(expected.address, link.mac)
      assert.equal(math.tointeger(expected.mtu), link.mtu)
      assert.same(link, nl:link(link.index))
      assert.same(link, nl:link(link.name))
    end
  end)

  it("know lo, carrier and its absence", function()
    local link = nl:link("lo")
    assert.is_true(link.is_loopback and link.is_up and link.is_running)
    assert.is_nil(link.kind)
    link = nl:link(eth0)
    assert.equal("veth", link.kind)
    assert.is_true(link.is_up and link.is_running)
    assert.is_false(link.is_loopback)
    assert.is_nil(link.parent) -- the peer is elsewhere
    link = nl:link(eth1)
    assert.is_true(link.is_up)
    assert.is_false(link.is_running)
    netns.run("ip", "link", "set", "eth1", "down")
    assert.is_false(nl:link(eth1).is_up)
    netns.run("ip", "link", "set", "eth1", "up")
  end)

  it("do not take a veth's peer for its parent", function()
    netns.veth("va", "vb")
    assert.is_nil(nl:link("va").parent)
    netns.run("ip", "link", "del", "va")
  end)

  it("show the bridge above and the alias", function()
    netns.run("ip", "link", "add", "br0", "type", "bridge")
    netns.run("ip", "link", "set", "eth1", "master", "br0", "alias", "uplink, second")
    local link = nl:link("eth1")
    assert.equal(netns.index("br0"), link.master)
    assert.equal("uplink, second", link.alias)
    assert.equal("bridge", nl:link("br0").kind)
    netns.run("ip", "link", "set", "eth1", "nomaster")
    netns.run("ip", "link", "del", "br0")
    assert.is_nil(nl:link("eth1").master)
  end)

  it("find nothing: nil alone", function()
    assert.same({}, { nl:link("nosuch") })
    assert.equal(1, select("#", nl:link(9999)))
    assert.equal(1, select("#", nl:link(("x"):rep(200))))
    assert.equal(1, select("#", nl:link("")))
  end)

  it("raise for what is neither index nor name", function()
    assert.has_error(function() nl:link({}) end)
    assert.has_error(function() nl:link(-1) end)
  end)
end)

describe("nl:link_set", function()
  it("changes the alias, the MAC and whether the link is up", function()
    assert.is_true(nl:link_set(eth1, { alias = "of moonlb", mac = "02:00:00:00:00:11", up = false }))
    local judged = netns.json("link", "show", "dev", "eth1")[1]
    assert.equal("of moonlb", judged.ifalias)
    assert.equal("02:00:00:00:00:11", judged.address)
    assert.is_nil(find({ judged.flags }, { "UP" }))
    assert.is_true(nl:link_set(eth1, { alias = "" }))
    assert.is_true(nl:link_set(eth1, { up = true }))
    judged = netns.json("link", "show", "dev", "eth1")[1]
    assert.is_nil(judged.ifalias)
    assert.equal("02:00:00:00:00:11", judged.address)
    assert.is_true(nl:link(eth1).is_up)
  end)

  it("says what the world objects to", function()
    assert_fails("ENODEV", nl:link_set(9999, { up = true }))
    assert_fails("ENAMETOOLONG", nl:link_set(eth1, { alias = ("x"):rep(300) }))
    assert.has_error(function() nl:link_set(eth1, { mac = "02:00:00:00:00" }) end)
  end)
end)

describe("nl:address_add and nl:address_delete", function()
  it("put a tagged address where ip(8) sees it", function()
    assert.is_true(nl:address_add({ index = lo, address = "10.8.0.1", prefix = 32, scope = "host", protocol = TAG }))
    assert.is_true(nl:address_add({ index = lo, address = "fd08::1", prefix = 128, protocol = TAG }))
    local judged = addresses_by_ip("lo")
    assert.equal("host", judged["10.8.0.1/32"].scope)
    assert.equal("global", judged["fd08::1/128"].scope)
    assert.is_true(judged["fd08::1/128"].nodad)
    assert.is_nil(judged["fd08::1/128"].tentative)
    local protocols = netns.run("/usr/bin/python3", root .. "/spec/support/address_protocols.py")
    assert.truthy(protocols:find("10.8.0.1/32 " .. TAG, 1, true), protocols)
    assert.truthy(protocols:find("fd08::1/128 " .. TAG, 1, true), protocols)
  end)

  it("are told of by nl:addresses", function()
    assert.same({
      address = "10.8.0.1", prefix = 32, index = lo, family = 4, scope = "host", protocol = TAG,
      is_tentative = false, is_dad_failed = false, is_deprecated = false,
    }, find(nl:addresses(), { address = "10.8.0.1" }))
    assert.equal(TAG, find(nl:addresses(lo), { address = "fd08::1", family = 6 }).protocol)
    assert.is_nil(find(nl:addresses(eth0), { address = "10.8.0.1" }))
    netns.run("ip", "addr", "add", "10.8.1.1/24", "dev", "eth0")
    local plain = find(nl:addresses(eth0), { address = "10.8.1.1" })
    assert.equal(0, plain.protocol)
    assert.equal(24, plain.prefix)
    assert.equal("global", plain.scope)
  end)

  it("take the whole address when no prefix is given", function()
    assert.is_true(nl:address_add({ index = lo, address = "10.8.0.2" }))
    assert.truthy(addresses_by_ip("lo")["10.8.0.2/32"])
    assert.is_true(nl:address_delete({ index = lo, address = "10.8.0.2" }))
    assert.is_nil(addresses_by_ip("lo")["10.8.0.2/32"])
  end)

  it("refuse a second one, and the absence of one", function()
    local message = assert_fails("EEXIST", nl:address_add({ index = lo, address = "10.8.0.1", prefix = 32 }))
    assert.matches("^add address 10%.8%.0%.1/32, interface 1: ", message)
    assert_fails("EEXIST", nl:address_add({ index = lo, address = "fd08::1", prefix = 128 }))
    assert_fails("EADDRNOTAVAIL", nl:address_delete({ index = lo, address = "10.8.0.99", prefix = 32 }))
    assert_fails("EADDRNOTAVAIL", nl:address_delete({ index = lo, address = "fd08::99", prefix = 128 }))
    assert_fails("ENODEV", nl:address_add({ index = 9999, address = "10.8.0.3" }))
    assert_fails("ENODEV", nl:addresses(9999))
  end)

  it("delete of the prefix named, no other", function()
    assert.is_true(nl:address_add({ index = eth0, address = "10.8.2.1", prefix = 24 }))
    assert_fails("EADDRNOTAVAIL", nl:address_delete({ index = eth0, address = "10.8.2.1", prefix = 32 }))
    assert.is_true(nl:address_delete({ index = eth0, address = "10.8.2.1", prefix = 24 }))
    assert.is_true(nl:address_delete({ index = lo, address = "10.8.0.1", prefix = 32 }))
    assert.is_true(nl:address_delete({ index = lo, address = "fd08::1", prefix = 128 }))
    assert.is_nil(addresses_by_ip("lo")["10.8.0.1/32"])
  end)

  it("honour noprefixroute and lifetimes", function()
    assert.is_true(nl:address_add({
      index = eth0, address = "10.8.3.1", prefix = 24, noprefixroute = true, valid = 3600, preferred = 1800,
    }))
    local info = addresses_by_ip("eth0")["10.8.3.1/24"]
    assert.is_true(info.noprefixroute)
    assert.is_true(info.valid_life_time <= 3600 and info.valid_life_time > 3500)
    assert.is_true(info.preferred_life_time <= 1800 and info.preferred_life_time > 1700)
    assert.equal("", netns.run("ip", "route", "show", "10.8.3.0/24"))
    assert.is_true(nl:address_add({ index = eth0, address = "fd08:3::1", prefix = 64, preferred = 0 }))
    assert.is_true(find(nl:addresses(eth0), { address = "fd08:3::1" }).is_deprecated)
    assert.is_true(nl:address_delete({ index = eth0, address = "10.8.3.1", prefix = 24 }))
    assert.is_true(nl:address_delete({ index = eth0, address = "fd08:3::1", prefix = 64 }))
  end)

  it("let the kernel probe an IPv6 address unless nodad", loop.test(function()
    netns.run("ip", "-n", "lan", "addr", "add", "fd08:4::7/64", "dev", "p0", "nodad")
    assert.is_true(nl:address_add({ index = eth0, address = "fd08:4::7", prefix = 64, nodad = false }))
    assert.is_true(find(nl:addresses(eth0), { address = "fd08:4::7" }).is_tentative)
    loop.until_true(function()
      return find(nl:addresses(eth0), { address = "fd08:4::7" }).is_dad_failed
    end, 15, "the kernel's DAD failed")
    assert.is_true(nl:address_delete({ index = eth0, address = "fd08:4::7", prefix = 64 }))
  end))

  it("raise for misuse", function()
    assert.error_matches(function() nl:address_add({ index = lo, address = "10.0.0.256" }) end, "not an address")
    assert.error_matches(function() nl:address_add({ index = lo, address = "10.0.0.1", prefix = 33 }) end, "prefix")
    assert.error_matches(function() nl:address_add({ address = "10.0.0.1" }) end, "index")
    assert.error_matches(function() nl:address_add({ index = lo }) end, "address")
    assert.error_matches(function() nl:address_add({ index = lo, address = "10.0.0.1", scope = "x" }) end, "scope")
    assert.error_matches(function()
      nl:address_add({ index = lo, address = "10.0.0.1", protocol = 256 })
    end, "protocol")
  end)

  it("show thousands in one dump", function()
    for i = 1, 2000 do
      assert(nl:address_add({ index = eth1, address = ("10.200.%d.%d"):format(i >> 8, i & 255), protocol = TAG }))
    end
    local seen = {}
    for _, entry in ipairs(nl:addresses(eth1)) do
      if entry.protocol == TAG then seen[entry.address] = true end
    end
    for i = 1, 2000 do assert.is_true(seen[("10.200.%d.%d"):format(i >> 8, i & 255)]) end
    assert.is_nil(find(nl:routes(4), { index = eth1 })) -- the local routes of these are left out
    netns.run("ip", "addr", "flush", "dev", "eth1")
    assert.is_nil(find(nl:addresses(eth1), { family = 4 }))
  end)
end)

describe("nl:routes and nl:default_route", function()
  it("find no default route", function()
    assert.equal(1, select("#", nl:default_route(4)))
    assert.is_nil((nl:default_route(4)))
    assert.is_nil((nl:default_route(6)))
  end)

  it("choose by metric, in the main table alone", function()
    netns.run("ip", "addr", "replace", "10.8.1.1/24", "dev", "eth0")
    netns.run("ip", "addr", "add", "10.8.5.1/24", "dev", "eth1")
    netns.run("ip", "route", "add", "default", "via", "10.8.5.254", "dev", "eth1", "metric", "200")
    assert.same({ family = 4, prefix = 0, gateway = "10.8.5.254", index = eth1, metric = 200, table = 254 },
      nl:default_route(4))
    netns.run("ip", "route", "add", "default", "via", "10.8.1.254", "dev", "eth0", "src", "10.8.1.1", "metric", "100")
    netns.run("ip", "route", "add", "default", "via", "10.8.5.253", "dev", "eth1", "table", "77")
    netns.run("ip", "route", "add", "blackhole", "default", "metric", "5")
    assert.same({ family = 4, prefix = 0, gateway = "10.8.1.254", index = eth0, metric = 100, table = 254,
      source = "10.8.1.1" }, nl:default_route(4))
    netns.run("ip", "route", "add", "default", "dev", "eth1", "scope", "link") -- no metric is 0, the best
    assert.equal(eth1, nl:default_route(4).index)
    assert.is_nil(nl:default_route(4).gateway)
    netns.run("ip", "route", "del", "default", "dev", "eth1", "metric", "0")
    netns.run("ip", "link", "set", "eth0", "down") -- its routes go with it
    assert.equal(eth1, nl:default_route(4).index)
    netns.run("ip", "link", "set", "eth0", "up")
  end)

  it("list what ip(8) lists, of every table", function()
    netns.run("ip", "route", "add", "192.0.2.0/25", "via", "10.8.5.9", "dev", "eth1", "metric", "7")
    assert.same({ family = 4, destination = "192.0.2.0", prefix = 25, gateway = "10.8.5.9", index = eth1, metric = 7,
      table = 254 }, find(nl:routes(), { destination = "192.0.2.0" }))
    assert.equal("10.8.5.253", find(nl:routes(4), { table = 77 }).gateway)
    assert.is_nil(find(nl:routes(6), { family = 4 }))
    local judged = netns.json("-4", "route", "show", "table", "all", "type", "unicast")
    assert.equal(#judged, #nl:routes(4))
  end)

  it("know several next hops by the first, and IPv4 by way of IPv6", function()
    netns.run("ip", "route", "add", "198.51.100.0/24", "nexthop", "via", "10.8.5.2", "dev", "eth1", "nexthop", "via",
      "10.8.5.3", "dev", "eth1")
    local route = find(nl:routes(4), { destination = "198.51.100.0" })
    assert.equal("10.8.5.2", route.gateway)
    assert.equal(eth1, route.index)
    netns.run("ip", "route", "add", "203.0.113.0/24", "via", "inet6", "fe80::7", "dev", "eth1")
    assert.equal("fe80::7", find(nl:routes(4), { destination = "203.0.113.0" }).gateway)
  end)

  it("do the same for IPv6", function()
    netns.run("ip", "-6", "route", "add", "default", "via", "fe80::2", "dev", "eth1", "metric", "512")
    netns.run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0", "metric", "300")
    assert.same({ family = 6, prefix = 0, gateway = "fe80::1", index = eth0, metric = 300, table = 254 },
      nl:default_route(6))
    netns.run("ip", "-6", "route", "del", "default", "dev", "eth0")
    assert.equal(eth1, nl:default_route(6).index)
  end)
end)

describe("nl:neighbours", function()
  it("tell address, MAC and state", function()
    netns.run("ip", "neigh", "add", "10.8.5.7", "lladdr", "02:00:00:00:00:07", "dev", "eth1", "nud", "permanent")
    netns.run("ip", "neigh", "add", "fd08::7", "lladdr", "02:00:00:00:00:08", "dev", "eth0", "nud", "stale")
    assert.same({ address = "10.8.5.7", mac = "02:00:00:00:00:07", index = eth1, state = "permanent" },
      find(nl:neighbours(), { address = "10.8.5.7" }))
    assert.same({ address = "fd08::7", mac = "02:00:00:00:00:08", index = eth0, state = "stale" },
      find(nl:neighbours(eth0), { address = "fd08::7" }))
    assert.is_nil(find(nl:neighbours(eth0), { address = "10.8.5.7" }))
  end)
end)

describe("nl:ipv4_conf and nl:set_ipv4_conf", function()
  it("read what /proc/sys holds", function()
    local conf = nl:ipv4_conf(eth0)
    local count = 0
    for name, value in pairs(conf) do
      count = count + 1
      if name ~= "tag" then assert.equal(sysctl("eth0", name), value, name) end
    end
    assert.is_true(count >= 30)
  end)

  it("set several at once, and set them back", function()
    local before = nl:ipv4_conf(eth0)
    assert.is_true(nl:set_ipv4_conf(eth0, { arp_ignore = 1, arp_announce = 2, rp_filter = 2 }))
    assert.equal(1, sysctl("eth0", "arp_ignore"))
    assert.equal(2, sysctl("eth0", "arp_announce"))
    assert.equal(2, sysctl("eth0", "rp_filter"))
    assert.equal(0, sysctl("eth1", "arp_ignore"))
    assert.equal(1, nl:ipv4_conf(eth0).arp_ignore)
    assert.is_true(nl:set_ipv4_conf(eth0, { arp_ignore = before.arp_ignore, arp_announce = before.arp_announce,
      rp_filter = before.rp_filter }))
    assert.same(before, nl:ipv4_conf(eth0))
  end)

  it("work where /proc/sys is read-only, as in a pod", function()
    netns.run("mount", "--bind", "/proc/sys", "/proc/sys")
    netns.run("mount", "-o", "remount,ro,bind", "/proc/sys")
    local file, _, code = io.open("/proc/sys/net/ipv4/conf/eth0/arp_ignore", "w")
    assert.is_nil(file)
    assert.equal(30, code) -- EROFS
    assert.is_true(nl:set_ipv4_conf(eth0, { arp_ignore = 2 }))
    assert.equal(2, sysctl("eth0", "arp_ignore"))
    assert.is_true(nl:set_ipv4_conf(eth0, { arp_ignore = 0 }))
    netns.run("umount", "/proc/sys")
  end)

  it("refuse what does not exist", function()
    assert_fails("ENODEV", nl:ipv4_conf(9999))
    assert_fails("ENODEV", nl:set_ipv4_conf(9999, { arp_ignore = 1 }))
    assert.error_matches(function() nl:set_ipv4_conf(eth0, { arp_ignores = 1 }) end, "arp_ignores")
    assert.error_matches(function() nl:set_ipv4_conf(eth0, { arp_ignore = "x" }) end, "arp_ignore")
    assert.error_matches(function() nl:set_ipv4_conf(eth0, { 1 }) end, "no IPv4 setting")
  end)
end)

describe("nl:macvlan_add", function()
  it("makes a macvlan that configures no IPv6 address itself", loop.test(function()
    local index = assert(nl:macvlan_add({
      parent = eth0, name = "moonlb-0a1b2c3d", mac = "02:11:22:33:44:55", alias = "moonlb default/web",
    }))
    local judged = netns.json("-d", "link", "show", "dev", "moonlb-0a1b2c3d")[1]
    assert.equal(index, math.tointeger(judged.ifindex))
    assert.equal("macvlan", judged.linkinfo.info_kind)
    assert.equal("bridge", judged.linkinfo.info_data.mode)
    assert.equal("02:11:22:33:44:55", judged.address)
    assert.equal("moonlb default/web", judged.ifalias)
    assert.equal("none", judged.inet6_addr_gen_mode)
    assert.equal("eth0", judged.link)
    local link = nl:link(index)
    assert.equal(eth0, link.parent)
    assert.equal("macvlan", link.kind)
    assert.is_false(link.is_up)
    assert.is_true(nl:link_set(index, { up = true }))
    loop.until_true(function() return nl:link(index).is_running end, 5, "the macvlan runs")
    assert.same({}, nl:addresses(index))
    assert.is_true(nl:link_delete(index))
    assert.is_nil((nl:link(index)))
  end))

  it("says why not", function()
    local index = assert(nl:macvlan_add({ parent = eth0, name = "mv0", mode = "private" }))
    local message = assert_fails("EEXIST", nl:macvlan_add({ parent = eth0, name = "mv0" }))
    assert.matches("^add macvlan mv0 on interface %d+: ", message)
    assert.is_true(nl:link_delete(index))
    assert_fails("ENODEV", nl:link_delete(index))
    assert_fails("ENODEV", nl:macvlan_add({ parent = 9999, name = "mv1" }))
    assert_fails("ENAMETOOLONG", nl:macvlan_add({ parent = eth0, name = ("x"):rep(16) }))
    assert.error_matches(function() nl:macvlan_add({ parent = eth0, name = "mv1", mode = "x" }) end, "mode")
    assert.error_matches(function() nl:macvlan_add({ name = "mv1" }) end, "parent")
  end)

  it("leaves nothing behind when its second step fails", function()
    assert_fails("ENAMETOOLONG", nl:macvlan_add({ parent = eth0, name = "mv2", alias = ("x"):rep(300) }))
    assert.is_nil((nl:link("mv2")))
  end)
end)

describe("a process without CAP_NET_ADMIN", function()
  it("is told which capability is missing, and may read", function()
    local output, code = netns.try("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", uv.exepath(),
      "-o", root .. "/spec/support/output.lua", root .. "/spec/lab/inside/without_net_admin.lua")
    assert.truthy(output:find("2 passed, 0 failed, 0 skipped", 1, true), output)
    assert.equal(0, code)
  end)
end)

describe("nl:monitor", function()
  local function listen()
    local listener = assert(netlink.open())
    local events = {}
    assert.is_true(listener:monitor(function(err, event)
      assert(not err, err and err.message)
      events[#events + 1] = event
    end))
    local function wait(fields)
      return loop.until_true(function() return find(events, fields) end, 10, "event")
    end
    return listener, wait, events
  end

  it("tells of links, carrier, addresses, routes and neighbours", loop.test(function()
    local _ <close>, wait, events = listen()
    netns.run("ip", "addr", "add", "10.8.6.1/24", "dev", "eth0")
    local event = wait({ type = "address", action = "new", address = "10.8.6.1" })
    assert.same({ 24, eth0, 4, 0 }, { event.prefix, event.index, event.family, event.protocol })
    wait({ type = "route", action = "new", destination = "10.8.6.0" })
    netns.run("ip", "addr", "del", "10.8.6.1/24", "dev", "eth0")
    wait({ type = "address", action = "delete", address = "10.8.6.1" })
    wait({ type = "route", action = "delete", destination = "10.8.6.0" })
    netns.run("ip", "neigh", "add", "10.8.1.9", "lladdr", "02:00:00:00:00:09", "dev", "eth0")
    assert.equal("02:00:00:00:00:09", wait({ type = "neighbour", action = "new", address = "10.8.1.9" }).mac)
    netns.run("ip", "-n", "lan", "link", "set", "p0", "down")
    wait({ type = "link", action = "new", name = "eth0", is_up = true, is_running = false })
    netns.run("ip", "-n", "lan", "link", "set", "p0", "up")
    for i = #events, 1, -1 do events[i] = nil end
    wait({ type = "link", action = "new", name = "eth0", is_up = true, is_running = true })
    netns.run("ip", "link", "add", "gone", "type", "bridge")
    netns.run("ip", "link", "del", "gone")
    wait({ type = "link", action = "delete", name = "gone", kind = "bridge" })
  end))

  it("tells of our own changes as well, with their tag", loop.test(function()
    local _ <close>, wait = listen()
    assert(nl:address_add({ index = lo, address = "10.8.0.7", protocol = TAG }))
    assert.equal(TAG, wait({ type = "address", action = "new", address = "10.8.0.7" }).protocol)
    assert(nl:address_delete({ index = lo, address = "10.8.0.7" }))
    wait({ type = "address", action = "delete", address = "10.8.0.7" })
  end))

  it("says overrun when the kernel had to drop some, then goes on", loop.test(function()
    local _ <close>, wait, events = listen()
    local batch = {}
    for i = 1, 20000 do batch[i] = "link set dev eth1 alias a" .. i end
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(table.concat(batch, "\n"), "\n")
    file:close()
    netns.run("ip", "-batch", path) -- the loop stands still meanwhile
    os.remove(path)
    wait({ type = "overrun" })
    assert.same({ { type = "overrun" } }, events) -- what was queued is older than the look that now follows
    assert(nl:address_add({ index = lo, address = "10.8.0.8" }))
    wait({ type = "address", action = "new", address = "10.8.0.8" })
    assert(nl:address_delete({ index = lo, address = "10.8.0.8" }))
  end, 60))

  it("goes on after a callback that raised", loop.test(function()
    local runtime = require("moonlb.core.runtime")
    local before, calls = runtime.callback_errors(), 0
    local listener <close> = assert(netlink.open())
    listener:monitor(function()
      calls = calls + 1
      error("expected by the spec")
    end)
    netns.run("ip", "link", "set", "eth1", "alias", "one")
    loop.until_true(function() return calls == 1 end, 10, "first call")
    netns.run("ip", "link", "set", "eth1", "alias", "two")
    loop.until_true(function() return calls == 2 end, 10, "second call")
    assert.equal(before + 2, runtime.callback_errors())
  end))

  it("may be closed by its own callback, which is not called again", loop.test(function()
    local listener, calls = assert(netlink.open()), 0
    listener:monitor(function()
      calls = calls + 1
      listener:close()
    end)
    local _ <close>, wait = listen()
    netns.run("ip", "addr", "add", "10.8.7.1/24", "dev", "eth0")
    netns.run("ip", "addr", "del", "10.8.7.1/24", "dev", "eth0")
    wait({ type = "address", action = "delete", address = "10.8.7.1" })
    assert.equal(1, calls)
    assert.error_matches(function() listener:links() end, "closed")
  end))

  it("keeps what listens alive, and takes one callback alone", loop.test(function()
    local count = 0
    assert(netlink.open()):monitor(function(_, event)
      if event.type == "link" and event.alias == "kept" then count = count + 1 end
    end)
    collectgarbage()
    collectgarbage()
    netns.run("ip", "link", "set", "eth1", "alias", "kept")
    loop.until_true(function() return count == 1 end, 10, "an event after a collection")
    local listener <close> = assert(netlink.open())
    listener:monitor(function() end)
    assert.error_matches(function() listener:monitor(function() end) end, "monitored already")
  end))
end)

describe("nl:close", function()
  it("is idempotent; a closed handle raises", function()
    local other = assert(netlink.open())
    other:close()
    other:close()
    assert.error_matches(function() other:links() end, "netlink is closed")
    assert.error_matches(function() other:monitor(function() end) end, "netlink is closed")
  end)
end)
