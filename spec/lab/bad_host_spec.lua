-- Hosts and neighbours that are not as they should be: what moonlb does all the same, and what it says.
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")
local rivals = require("moonlb.announcer.rivals")

local VIP = "10.77.0.150"

-- moonlb on a node behind a shell script that makes the node worse; `exec "$@"` ends it.
local function behind(it, script)
  local process = it:start("node1", "unshare", "--mount", "sh", "-ec", script .. "\nexec \"$@\"", "sh",
    it.nodes.program, "run", "--kubeconfig", it.nodes.kubeconfig, "--node-name", "node1")
  it.nodes.running[#it.nodes.running + 1] = process	-- stopped with the others
  return process
end

-- The MACs that answer one ARP request of the client, each once, sorted.
local function answering(it, ip)
  local output, macs, seen = it:on("client", "arping", "-c", "2", "-w", "2", "-I", "eth0", ip).output, {}, {}
  for mac in output:gmatch("reply from %S+ %[(%S+)%]") do
    if not seen[mac] then macs[#macs + 1], seen[mac] = mac:lower(), true end
  end
  table.sort(macs)
  return macs
end

local function mac_of(it, host)
  return it:on(host, "ip", "-o", "link", "show", "eth0").output:match("link/ether (%S+)")
end

local function until_said(it, text)
  loop.until_true(function() return (it.output.node1 or ""):find(text, 1, true) end, 20, "said: " .. text)
end

describe("moonlb on a host", function()
  it("works where /proc/sys and /sys are read only", lab.test(function(it)
    local process = behind(it, "mount -t sysfs -o ro sysfs /sys; mount --bind /proc/sys /proc/sys; "
      .. "mount -o remount,bind,ro /proc/sys; if echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_ignore; then exit 99; fi; "
      .. "if touch /sys/x; then exit 98; fi")
    it:service("web", { loadBalancerIP = VIP })
    it:until_address("web", VIP)
    assert.is_true(it:is_answered(VIP))
    assert.matches("hello from node1", it:curl(VIP))
    assert.is_nil(process:output():find("level=error", 1, true), process:output())
  end))

  it("works without IPv6: IPv4 is answered, and an Event says why IPv6 is not", lab.test(function(it)
    it:on("node1", "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
      "net.ipv6.conf.lo.disable_ipv6=1", "net.ipv6.conf.eth0.disable_ipv6=1")
    it:moonlb()
    it:service("web", { ipFamilyPolicy = "PreferDualStack" })
    loop.until_true(function() return it:is_answered("10.77.0.128") end, 20, "IPv4 is answered")
    assert.equal("10.77.0.128", it:until_address("web", "10.77.0.128"))
    loop.until_true(function() return it:has_event("web", "AnnounceFailed", "IPv6 is disabled") end, 10, "explained")
  end))

  it("says that another moonlb is there already, waits, and takes over when that ends", lab.test(function(it)
    local first = it:moonlb()
    it:service("web", { loadBalancerIP = VIP })
    it:until_address("web", VIP)
    it:moonlb("node1", { "--port", "2114", "--node-name", "node1" })
    until_said(it, "are there two DaemonSets?")
    assert.same({ mac_of(it, "node1") }, answering(it, VIP))
    it:signal(first, "sigkill")
    it.output.node1 = ""
    until_said(it, "announcer started")
    loop.until_true(function() return it:is_answered(VIP) end, 10, "answered by the second")
  end, { timeout = 90 }))
end)

describe("moonlb beside", function()
  it("kube-proxy in IPVS mode without strictARP: one node answers, though every node has the address", lab.test(
    function(it)
      for _, name in ipairs({ "node1", "node2" }) do
        it:on(name, "ip", "link", "add", "kube-ipvs0", "type", "dummy")
        it:on(name, "ip", "address", "add", VIP .. "/32", "dev", "kube-ipvs0")
        it:moonlb(name)
      end
      it:service("web", { loadBalancerIP = VIP })
      it:until_address("web", VIP)
      loop.until_true(function()
        local macs = answering(it, VIP)
        return #macs == 1 and macs[1] == mac_of(it, it:get("web").metadata.annotations["kube-vip.io/vipHost"])
      end, 30, "its owner answers alone")
    end, { count = 2 }))

  it("a node without it that announces the address, too, as kube-vip does: its MAC is named", lab.test(function(it)
    it:moonlb()
    it:service("web", { loadBalancerIP = VIP })
    it:until_address("web", VIP)
    it:on("node2", "ip", "address", "add", VIP .. "/32", "dev", "eth0")
    local sent = it:on("node2", "arping", "-c", "1", "-A", "-I", "eth0", "-s", VIP, VIP)
    assert.matches("Sent 1 probe", sent.output)
    loop.until_true(function() return it:has_event("web", "AddressConflict", mac_of(it, "node2")) end, 15, "named")
  end, { count = 2 }))

  it("kube-vip, which writes vipHost and puts the address on its interface: both are said, and no fight", lab.test(
    function(it)
      it:moonlb("node1")
      it:service("web", { loadBalancerIP = VIP })
      it:until_address("web", VIP)
      for i = 1, 12 do
        assert(it.kube:merge_patch("/api/v1/namespaces/demo/services/web", { metadata = { annotations = {
          ["kube-vip.io/vipHost"] = "node9" } } }))
        loop.until_true(function()
          return it:get("web").metadata.annotations["kube-vip.io/vipHost"] == "node1" or i >= rivals.LIMIT
        end, 5, "put right at first")
      end
      assert.equal("node9", it:get("web").metadata.annotations["kube-vip.io/vipHost"])
      loop.until_true(function() return it:has_event("web", "AnnouncerConflict", "node9") end, 10, "said")
      assert.is_true(it:is_answered(VIP))
      it:on("node1", "ip", "address", "add", VIP .. "/32", "dev", "eth0")
      loop.until_true(function() return it:has_event("web", "AddressConflict", "another announcer's (kube-vip") end, 10,
        "its address is said")
    end))
end)
