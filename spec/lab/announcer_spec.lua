-- One VIP's life on a real LAN, judged by arping, ndisc6, tcpdump, tshark and ip(8).
local announcing = require("spec.support.announcing")
local clusters = require("spec.support.cluster")
local loop = require("spec.support.loop")
local process = require("moonlb.sandbox.process")
require("moonlb.core.log").configure({ level = "error" })

local V4, V6 = "10.77.0.100", "fd77::100"

describe("announcer on a LAN", function()
  local lan, node_mac, stranger_mac, cluster, node, capture

  -- A test with an announcer that is stopped afterwards, whatever happens.
  local function test(body, settings)
    return loop.test(function()
      if not lan then
        lan = announcing.lan()
        node_mac, stranger_mac = lan:mac(), lan:mac("stranger")
      end
      cluster = clusters.new()
      node = announcing.start(cluster, settings)
      local ok, err = pcall(body)
      node:stop()
      if capture then capture:stop() end
      capture = nil
      lan:run("stranger", "ip", "address", "flush", "dev", "eth0", "scope", "global")
      if not ok then error(err, 0) end
    end, 60)
  end

  local function until_held(...)
    for _, ip in ipairs({ ... }) do announcing.until_state(node, ip, "held") end
  end

  local function arp_settings()
    local result = lan:run(nil, "sysctl", "-n", "net.ipv4.conf.eth0.arp_ignore", "net.ipv4.conf.eth0.arp_announce")
    return (result.output:gsub("%s+", " "))
  end

  -- The stranger takes an address without asking, and says so by a gratuitous request.
  local function stranger_claims(ip)
    lan:run("stranger", "ip", "address", "replace", ip .. "/24", "dev", "eth0")
    lan:run("stranger", "arping", "-U", "-c", "1", "-w", "1", "-I", "eth0", ip)
  end

  describe("a clean claim", function()
    it("answers ARP with one MAC, the announcing interface's, and writes status once it does", test(function()
      cluster:service("web", V4)
      loop.until_true(function() return cluster:status("web") == V4 end, 5, "status")
      assert.same({ node_mac }, lan:who_has(V4))
      assert.is_true(lan:is_on_lo(V4))
      local annotations = cluster.objects["demo/web"].metadata.annotations
      assert.equal("node1", annotations["kube-vip.io/vipHost"])
      assert.equal("1 node1", annotations["moonlb.io/claim"])
      assert.is_truthy(cluster:has_event("web Normal Announcing " .. V4 .. " on eth0 of node node1"))
    end))

    it("answers neighbour solicitations the same (RFC 4861 section 7.2.4)", test(function()
      cluster:service("web", V4 .. "," .. V6)
      until_held(V4, V6)
      assert.same({ node_mac }, lan:who_has(V6))
      assert.same({ node_mac }, lan:who_has(V4))
      assert.equal(V4 .. "," .. V6, cluster:status("web"))
    end))

    it("writes status once for one life", test(function()
      cluster:service("web", V4)
      until_held(V4)
      assert.equal(1, #cluster.writes)
    end))

    it("keeps the kernel silent while it holds, and puts the ARP settings back at stop", test(function()
      assert.equal("0 0 ", arp_settings())
      cluster:service("web", V4)
      until_held(V4)
      assert.equal("1 2 ", arp_settings())
      node:stop()
      assert.equal("0 0 ", arp_settings())
      assert.is_false(lan:is_on_lo(V4))
      assert.same({}, lan:who_has(V4))
    end))

    it("is silent and off the node when the Service is deleted", test(function()
      cluster:service("web", V4 .. "," .. V6)
      until_held(V4, V6)
      cluster:delete("web")
      announcing.until_state(node, V4, "gone")
      assert.same({}, lan:who_has(V4))
      assert.same({}, lan:who_has(V6))
      assert.is_false(lan:is_on_lo(V4))
      assert.is_false(lan:is_on_lo(V6))
    end))

    it("follows a changed address", test(function()
      cluster:service("web", V4)
      until_held(V4)
      cluster:service("web", "10.77.0.101")
      until_held("10.77.0.101")
      assert.same({}, lan:who_has(V4))
      assert.same({ node_mac }, lan:who_has("10.77.0.101"))
      assert.equal("10.77.0.101", cluster:status("web"))
    end))
  end)

  describe("the frames", function()
    it("are three probes as RFC 5227 section 2.1.1 has them, then pairs of announcements (section 2.3)", test(function()
      capture = lan:capture("arp host " .. V4)
      cluster:service("web", V4)
      until_held(V4)
      local probes = capture:read("arp.src.proto_ipv4 == 0.0.0.0", "eth.dst", "eth.src", "arp.opcode",
        "arp.src.hw_mac", "arp.dst.hw_mac", "arp.dst.proto_ipv4")
      local probe = ("ff:ff:ff:ff:ff:ff %s 1 %s 00:00:00:00:00:00 %s"):format(node_mac, node_mac, V4)
      assert.same({ probe, probe, probe }, probes)
      local said = capture:read_until(12, "arp.src.proto_ipv4 == " .. V4, "eth.dst", "eth.src", "arp.opcode",
        "arp.src.hw_mac", "arp.dst.proto_ipv4")
      assert.equal(12, #said)
      assert.equal(("ff:ff:ff:ff:ff:ff %s 1 %s %s"):format(node_mac, node_mac, V4), said[1])
      assert.equal(("ff:ff:ff:ff:ff:ff %s 2 %s %s"):format(node_mac, node_mac, V4), said[2])
    end))

    it("are solicitations from the unspecified address (RFC 4862 section 5.4.2), then unsolicited NA with Override "
      .. "(RFC 4861 section 7.2.6)", test(function()
      capture = lan:capture("icmp6 and (ip6[40] == 135 or ip6[40] == 136)")
      cluster:service("web", V6)
      until_held(V6)
      local probes = capture:read("icmpv6.type == 135 && icmpv6.nd.ns.target_address == " .. V6, "ipv6.src", "ipv6.dst",
        "ipv6.hlim", "eth.dst")
      local probe = ":: ff02::1:ff00:100 255 33:33:ff:00:01:00"
      assert.same({ probe, probe, probe }, probes)
      local said = capture:read_until(6, "icmpv6.type == 136 && icmpv6.nd.na.target_address == " .. V6,
        "ipv6.src", "ipv6.dst",
        "ipv6.hlim", "icmpv6.nd.na.flag.s", "icmpv6.nd.na.flag.o", "icmpv6.opt.linkaddr", "icmpv6.checksum.status")
      assert.equal(6, #said)
      assert.equal(("%s ff02::1 255 0 1 %s 1"):format(V6, node_mac), said[1])
    end))

    it("announce 1,000 VIPs, each one", test(function()
      capture = lan:capture("arp")
      local names = {}
      for i = 1, 1000 do
        names[i] = "s" .. i
        cluster:service(names[i], ("10.77.%d.%d"):format(1 + i // 250, i % 250 + 1))
      end
      loop.until_true(function()
        for _, name in ipairs(names) do if cluster:status(name) == "" then return false end end
        return true
      end, 30, "status of all")
      assert.same({ node_mac }, lan:who_has("10.77.3.7"))
      loop.until_true(function()
        local seen, count = {}, 0
        for _, ip in ipairs(capture:read("arp.isgratuitous == 1", "arp.src.proto_ipv4")) do
          if not seen[ip] then count = count + 1 end
          seen[ip] = true
        end
        return count == 1000
      end, 20, "1,000 different announcements")
    end, { probe = "off" }))
  end)

  describe("a stranger", function()
    it("who holds the address keeps it: not taken, said with MAC and interface", test(function()
      lan:run("stranger", "ip", "address", "add", V4 .. "/24", "dev", "eth0")
      cluster:service("web", V4)
      announcing.until_state(node, V4, "conflict")
      assert.matches(("%s is in use by %s on eth0: not taken"):format(V4, stranger_mac),
        cluster:has_event("AddressConflict"), 1, true)
      assert.is_false(lan:is_on_lo(V4))
      assert.same({ stranger_mac }, lan:who_has(V4))
      loop.until_true(function() return cluster.objects["demo/web"].metadata.annotations["moonlb.io/conflict"] end, 5)
      assert.matches(("^%s %s eth0 node1 20%%d%%d"):format(V4, stranger_mac),
        cluster.objects["demo/web"].metadata.annotations["moonlb.io/conflict"])
      assert.equal("", cluster:status("web"))
    end))

    it("who holds the IPv6 address keeps it (RFC 4862 section 5.4.4)", test(function()
      lan:run("stranger", "ip", "address", "add", V6 .. "/64", "dev", "eth0", "nodad")
      cluster:service("web", V6)
      announcing.until_state(node, V6, "conflict")
      assert.matches(("%s is in use by %s on eth0: not taken"):format(V6, stranger_mac),
        cluster:has_event("AddressConflict"), 1, true)
      assert.is_false(lan:is_on_lo(V6))
    end))

    it("who comes later meets a defence; who insists gets it (RFC 5227 section 2.4 b)", test(function()
      cluster:service("web", V4)
      until_held(V4)
      capture = lan:capture("arp host " .. V4)
      stranger_claims(V4)
      loop.until_true(function() return cluster:has_event("defended") end, 5, "defence")
      assert.equal("held", node.vips[V4].state)
      lan:run("stranger", "arping", "-U", "-c", "1", "-w", "1", "-I", "eth0", V4)
      announcing.until_state(node, V4, "conflict")
      assert.is_truthy(cluster:has_event(("%s was taken over by %s on eth0: yielded"):format(V4, stranger_mac)))
      assert.same({ stranger_mac }, lan:who_has(V4))
      assert.is_false(lan:is_on_lo(V4))
      local ours = ("arp.src.proto_ipv4 == %s && eth.src == %s && arp.isgratuitous == 1"):format(V4, node_mac)
      local defence = capture:read_until(2, ours, "arp.opcode")
      assert.same({ "1", "2" }, defence)
    end))

    it("and another stranger at once are both given way to", test(function()
      cluster:service("web", V4)
      until_held(V4)
      lan:run("client", "ip", "address", "add", V4 .. "/24", "dev", "eth0")
      stranger_claims(V4)
      loop.until_true(function() return cluster:has_event("defended") end, 5, "defence")
      lan:run("client", "arping", "-U", "-c", "1", "-w", "1", "-I", "eth0", V4)
      announcing.until_state(node, V4, "conflict")
      assert.is_truthy(cluster:has_event(("%s was taken over by %s on eth0"):format(V4, lan:mac("client"))))
      lan:run("client", "ip", "address", "delete", V4 .. "/24", "dev", "eth0")
      assert.same({ stranger_mac }, lan:who_has(V4))
    end))

    it("who only asks whether it is free hears that it is not (RFC 5227 section 2.1.1)", test(function()
      cluster:service("web", V4)
      until_held(V4)
      local asked = lan:run("stranger", "arping", "-D", "-c", "2", "-w", "2", "-I", "eth0", V4)
      assert.equal(1, asked.code, asked.output)
      assert.equal("held", node.vips[V4].state)
      assert.is_nil(cluster:has_event("AddressConflict"))
    end))

    it("makes room: the address is probed again and taken", test(function()
      lan:run("stranger", "ip", "address", "add", V4 .. "/24", "dev", "eth0")
      cluster:service("web", V4)
      announcing.until_state(node, V4, "conflict")
      lan:run("stranger", "ip", "address", "flush", "dev", "eth0", "scope", "global")
      loop.until_true(function() return cluster:status("web") == V4 end, 20, "status")
      loop.until_true(function()
        return not cluster.objects["demo/web"].metadata.annotations["moonlb.io/conflict"]
      end, 5, "annotation removed")
    end))
  end)

  describe("the node's network", function()
    it("gets an address back that somebody removed", test(function()
      cluster:service("web", V4 .. "," .. V6)
      until_held(V4, V6)
      lan:run(nil, "ip", "address", "delete", V4 .. "/32", "dev", "lo")
      lan:run(nil, "ip", "address", "delete", V6 .. "/128", "dev", "lo")
      loop.until_true(function() return lan:is_on_lo(V4) and lan:is_on_lo(V6) end, 5, "back on lo")
      assert.same({ node_mac }, lan:who_has(V4))
    end))

    it("withdraws when the carrier goes and announces when it is back, without a probe", test(function()
      cluster:service("web", V4)
      until_held(V4)
      lan:run(nil, "ip", "-n", "switch", "link", "set", "p-node", "down")
      announcing.until_state(node, V4, "wanted")
      assert.equal("interface eth0 has no carrier", node.vips[V4].reason)
      capture = lan:capture("arp host " .. V4)
      lan:run(nil, "ip", "-n", "switch", "link", "set", "p-node", "up")
      until_held(V4)
      assert.same({ node_mac }, lan:who_has(V4))
      assert.same({}, capture:read("arp.src.proto_ipv4 == 0.0.0.0", "arp.opcode"))
      assert.equal(V4, cluster:status("web"))
    end))

    it("announces a changed MAC", test(function()
      cluster:service("web", V4 .. "," .. V6)
      until_held(V4, V6)
      lan:run(nil, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:42")
      loop.until_true(function() return lan:who_has(V4)[1] == "02:00:00:00:00:42" end, 5, "the new MAC")
      assert.same({ "02:00:00:00:00:42" }, lan:who_has(V6))
      lan:run(nil, "ip", "link", "set", "eth0", "address", node_mac)
      loop.until_true(function() return lan:who_has(V4)[1] == node_mac end, 5, "the old MAC")
    end))

    it("withdraws from a renamed interface that was chosen by name, and comes back with the name", test(function()
      cluster:service("web", V4, nil, { ["kube-vip.io/serviceInterface"] = "eth0" })
      until_held(V4)
      lan:run(nil, "ip", "link", "set", "eth0", "name", "lan0")
      announcing.until_state(node, V4, "wanted")
      assert.is_truthy(cluster:has_event("InterfaceMissing interface eth0 (annotation kube-vip.io/serviceInterface) "
        .. "does not exist on this node"))
      assert.same({}, lan:who_has(V4))
      lan:run(nil, "ip", "link", "set", "lan0", "name", "eth0")
      until_held(V4)
      assert.same({ node_mac }, lan:who_has(V4))
    end))

    it("serves when a missing interface appears, on the subnet's interface with auto", test(function()
      cluster:service("other", "10.88.0.9", nil, { ["kube-vip.io/serviceInterface"] = "eth1" })
      cluster:service("web", V4, nil, { ["kube-vip.io/serviceInterface"] = "auto" })
      until_held(V4)
      assert.is_truthy(cluster:has_event("other Warning InterfaceMissing"))
      lan:run(nil, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", "client")
      lan:run(nil, "ip", "link", "set", "eth1", "up")
      lan:run("client", "ip", "link", "set", "eth1", "up")
      lan:run("client", "ip", "address", "add", "10.88.0.4/24", "dev", "eth1")
      until_held("10.88.0.9")
      local eth1 = node.vips["10.88.0.9"].interface
      assert.equal("eth1", eth1.name)
      assert.equal("eth0", node.vips[V4].interface.name)
      local arping = lan:run("client", "arping", "-c", "1", "-w", "2", "-I", "eth1", "10.88.0.9")
      assert.matches(eth1.mac, arping.output:lower(), 1, true)
      lan:run(nil, "ip", "link", "delete", "eth1")
      announcing.until_state(node, "10.88.0.9", "wanted")
    end))

    it("may have a second subnet: auto finds the interface, and the address answers there", test(function()
      lan:run(nil, "ip", "address", "add", "10.99.0.2/24", "dev", "eth0")
      lan:run("client", "ip", "address", "add", "10.99.0.4/24", "dev", "eth0")
      cluster:service("web", "10.99.0.9", nil, { ["kube-vip.io/serviceInterface"] = "auto" })
      until_held("10.99.0.9")
      assert.same({ node_mac }, lan:who_has("10.99.0.9"))
      lan:run(nil, "ip", "address", "delete", "10.99.0.2/24", "dev", "eth0")
      lan:run("client", "ip", "address", "delete", "10.99.0.4/24", "dev", "eth0")
    end))

    it("may announce on a bridge", test(function()
      lan:run(nil, "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
      lan:run(nil, "ip", "link", "set", "br0", "address", "02:00:00:00:00:b0", "up")
      lan:run(nil, "ip", "link", "set", "eth0", "master", "br0")
      cluster:service("web", V4 .. "," .. V6, nil, { ["kube-vip.io/serviceInterface"] = "br0" })
      until_held(V4, V6)
      assert.same({ "02:00:00:00:00:b0" }, lan:who_has(V4))
      assert.same({ "02:00:00:00:00:b0" }, lan:who_has(V6))
      lan:run(nil, "ip", "link", "delete", "br0")
      announcing.until_state(node, V4, "wanted")
    end))

    it("may announce on a macvlan, whose parent keeps silent", test(function()
      lan:run(nil, "ip", "link", "add", "mv0", "link", "eth0", "address", "02:00:00:00:00:a0", "type", "macvlan",
        "mode", "bridge")
      lan:run(nil, "ip", "link", "set", "mv0", "up")
      cluster:service("web", V4 .. "," .. V6, nil, { ["kube-vip.io/serviceInterface"] = "mv0" })
      until_held(V4, V6)
      assert.same({ "02:00:00:00:00:a0" }, lan:who_has(V4))
      assert.same({ "02:00:00:00:00:a0" }, lan:who_has(V6))
      lan:run(nil, "ip", "link", "delete", "mv0")
      announcing.until_state(node, V4, "wanted")
    end))

    it("never takes an address that is the node's own", test(function()
      cluster:service("web", "10.77.0.2")
      loop.until_true(function() return cluster:has_event("AddressConflict") end, 5)
      assert.matches("10.77.0.2 is the address of eth0 on node node1 itself",
        cluster:has_event("AddressConflict"), 1, true)
      assert.equal("wanted", node.vips["10.77.0.2"].state)
      node:stop()
      assert.matches("10.77.0.2/24", lan:run(nil, "ip", "-o", "address", "show", "dev", "eth0").output, 1, true)
    end))

    it("is excluded from pools: own addresses, gateway, ends of segments", test(function()
      local reasons = {}
      for _, item in ipairs(node:excluded()) do reasons[item.first] = item.reason end
      assert.equal("address of eth0 on node node1", reasons["10.77.0.2"])
      assert.equal("gateway of node node1", reasons["10.77.0.1"])
      assert.equal("network address of eth0 on node node1", reasons["10.77.0.0"])
      assert.equal("broadcast address of eth0 on node node1", reasons["10.77.0.255"])
      assert.equal("subnet-router anycast address of eth0 on node node1", reasons["fd77::"])
    end))

    it("shows a TCP connection through the VIP to a server on the node", test(function()
      cluster:service("web", V4 .. "," .. V6)
      until_held(V4, V6)
      local server = assert(process.start({ "socat", "TCP6-LISTEN:80,ipv6only=0,fork,reuseaddr",
        "SYSTEM:echo hello from the node" }))
      loop.until_true(function() return lan:run(nil, "ss", "-ltn").output:find(":80 ", 1, true) end, 5, "server")
      assert.equal("hello from the node\n", lan:run("client", "socat", "-u", "TCP:" .. V4 .. ":80", "-").output)
      assert.equal("hello from the node\n", lan:run("client", "socat", "-u", "TCP6:[" .. V6 .. "]:80", "-").output)
      server:kill("sigterm")
      server:wait(5)
    end))
  end)

  describe("two Services that share an address", function()
    it("have one VIP, which stays until the last of them goes", test(function()
      cluster:service("a", V4)
      cluster:service("b", V4, { ports = { { port = 81, protocol = "TCP" } } })
      until_held(V4)
      loop.until_true(function() return cluster:status("a") == V4 and cluster:status("b") == V4 end, 5, "both status")
      cluster:delete("a")
      assert.same({ node_mac }, lan:who_has(V4))
      cluster:delete("b")
      announcing.until_state(node, V4, "gone")
      assert.same({}, lan:who_has(V4))
    end))
  end)
end)
