-- `moonlb doctor`: each check against a played node, cluster and daemon; the rights against the manifests.
local cjson = require("cjson")
local command = require("moonlb.cli.doctor")
local doctor = require("moonlb.control.doctor")
local loop = require("spec.support.loop")
local lyaml = require("lyaml")
local rights = require("moonlb.control.doctor.rights")

local NOW = 1767225600	-- 2026-01-01T00:00:00Z
local FULL = "CapEff:\t000001ffffffffff\n"

local LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/moonlb-allocator"

local look

-- A node that lacks nothing.
before_each(function()
  local files = { ["/proc/self/status"] = FULL, ["/proc/net/if_inet6"] = "", ["/proc/net/udp"] = "",
    ["/proc/net/tcp"] = "" }
  for _, name in ipairs({ "eth0", "all" }) do
    for _, key in ipairs({ "arp_ignore", "arp_announce", "rp_filter" }) do
      files[("/proc/sys/net/ipv4/conf/%s/%s"):format(name, key)] = "0\n"
    end
  end
  local links = { { index = 1, name = "lo", is_loopback = true, is_up = true },
    { index = 2, name = "eth0", mac = "02:00:00:00:00:02", is_up = true, is_running = true } }
  local entry = { address = "10.0.0.1", mac = "02:00:00:00:00:01", state = "reachable", index = 2 }
  look = {
    files = files, links = links, entry = entry, refused = {}, objects = {}, lists = {},
    read = function(path) return files[path] end, can_write = function() return true end,
    running = { { pid = 1, parent = 0, name = "init", command = "/sbin/init" } },
    processes = function() return look.running end,
    netlink = {
      links = function() return links end,
      addresses = function() return { { address = "10.0.0.2", prefix = 24, index = 2, family = 4 } } end,
      default_route = function(_, family) return family == 4 and { gateway = "10.0.0.1", index = 2 } or nil end,
      neighbours = function() return { look.entry } end,
    },
    poke = function(address) look.poked = address end, sleep = function() end, walltime = function() return NOW end,
    ask = function() return look.health, "no moonlb runs here", look.code or "ENOENT" end,
    settings = { allocate = true, announce = true, configmap = "kubevip", configmap_namespace = "kube-system" },
  }
  look.objects["/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/moonlb-allocator"] = {
    spec = { holderIdentity = "node1_1", renewTime = "2025-12-31T23:59:58.000000Z" } }
  look.lists["/api/v1/namespaces/kube-system/configmaps"] = { { metadata = { name = "kubevip" } } }
  look.client = {
    create = function(_, _, object)
      local it = object.spec.resourceAttributes
      return { status = { allowed = not look.refused[it.verb .. " " .. it.resource] } }
    end,
    get = function(_, path) return look.objects[path], "not found", "NotFound" end,
    list = function(_, path, _, on_page)
      if look.list_error then return nil, look.list_error, "Forbidden" end
      on_page(look.lists[path] or {})
      return "1"
    end,
  }
  look.health = { missing = {}, announces = true, peers = { { name = "node2", is_alive = true } } }
end)

-- The finding of one check.
local function found(name)
  for _, it in ipairs(doctor.examine(look)) do
    if it.check == name then return it end
  end
  error("no such check: " .. name)
end

-- What can be typed: a program that a node has, and its first word.
local COMMANDS = { "kubectl %-?%l", "moonlb %l", "ip %-?%l", "ss %-%l", "ps %-o", "sysctl %-?%l", "arping %d",
  "timedatectl", "cat /proc", "top %-b" }

local function assert_has_command(it)
  if it.result == "ok" then return end
  local text = " " .. (it.fix or "")
  for _, pattern in ipairs(COMMANDS) do
    if text:find("[ (]" .. pattern) then return end
  end
  error(("%s is %s (%s), and no command mends or shows it: %s"):format(it.check, it.result, it.says, it.fix))
end

local function assert_finds(name, result, says, fix)
  for _, each in ipairs(doctor.examine(look)) do assert_has_command(each) end
  local it = found(name)
  assert.equal(result, it.result, it.says)
  assert.is_truthy(it.says:find(says, 1, true), it.says)
  if fix then assert.is_truthy(it.fix:find(fix, 1, true), it.fix) end
end

describe("doctor", function()
  it("finds nothing wrong where nothing is, and asks the gateway", function()
    local findings = doctor.examine(look)
    for _, it in ipairs(findings) do assert.equal("ok", it.result, it.check .. ": " .. it.says) end
    assert.equal(#doctor.CHECKS, #findings)
    assert.equal("ok", doctor.worst(findings))
    assert.equal("10.0.0.1", look.poked)
  end)

  local function link(change) return function() change(look.links[2]) end end
  local function file(path, text) return function() look.files[path] = text end end
  local function conf(key, value) return file("/proc/sys/net/ipv4/conf/eth0/" .. key, value) end
  local function ipvs() look.links[3] = { index = 3, name = "kube-ipvs0" } end
  local function object(path, value) return function() look.objects[path] = value end end
  local function pods(value)
    return function()
      look.lists["/api/v1/namespaces/kube-system/pods"] = { { metadata = { name = "kube-vip-1" }, spec = { containers =
        { { image = "ghcr.io/kube-vip/kube-vip:v1.0", env = { { name = "svc_enable", value = value } } } } } } }
    end
  end
  local function proxy(text)
    return object("/api/v1/namespaces/kube-system/configmaps/kube-proxy", { data = { ["config.conf"] = text } })
  end
  local function lease(time)
    return object(LEASE, { spec = { holderIdentity = "node1_1", renewTime = time } })
  end
  local function run(...)
    local running = { ... }
    return function() look.running = running end
  end
  local function moonlb(pid, parent)
    return { pid = pid, parent = parent, name = "moonlb", command = "/usr/bin/moonlb\0run\0--announce\0" }
  end
  local function health(values)
    return function()
      for name, value in pairs(values) do look.health[name] = value end
    end
  end

  local UDP68 = "  sl  local_address rem_address   st\n  12: 00000000:0044 00000000:0000 07 00000000\n"
  local TCP2112 = "  sl  local_address rem_address   st\n   0: 00000000:0840 00000000:0000 0A 00000000\n"

  local CASES = {
    { "interface", "fail", "is down", "ip link set eth0 up", link(function(it) it.is_up = false end) },
    { "interface", "fail", "no carrier", "switch", link(function(it) it.is_running = false end) },
    { "interface", "fail", "eth9 (vip_interface) does not exist", "--interface",
      function() look.settings.interface = "eth9" end },
    { "interface", "fail", "interface eth0 is down", "ip link set eth0 up", function()	-- its route went with it
      look.links[2].is_up = false
      look.netlink.default_route, look.netlink.addresses = function() end, function() return {} end
      table.insert(look.links, 2, { index = 3, name = "dummy0", kind = "dummy", mac = "02:00:00:00:00:03" })
    end },
    { "interface", "fail", "netlink: no", "in the Pod",
      function() look.netlink, look.netlink_error = nil, "netlink: no" end },
    { "capabilities", "fail", "CAP_NET_RAW", "kubectl apply",
      file("/proc/self/status", "CapEff:\t0000000000001000\n") },
    { "capabilities", "warn", "CAP_SYS_NICE", "SYS_NICE", file("/proc/self/status", "CapEff:\t0000000000003000\n") },
    { "arp", "warn", "not looked at", "ip route", function() look.settings.interface = "eth9" end },
    { "arp", "warn", "cannot be read", "sysctl", function()
      for _, name in ipairs({ "eth0", "all" }) do file("/proc/sys/net/ipv4/conf/" .. name .. "/arp_ignore", nil)() end
    end },
    { "arp", "ok", "arp_ignore 1, arp_announce 0", nil, conf("arp_ignore", "1\n") },
    { "ipvs", "fail", "each node answers ARP for all", "strictARP", ipvs },
    { "ipvs", "ok", "keeps it from answering", nil, function()
      ipvs()
      conf("arp_ignore", "1\n")()
    end },
    { "rp_filter", "warn", "is strict", "rp_filter=2", function()
      conf("rp_filter", "1\n")()
      look.settings.interface = "eth0"
      look.netlink.default_route = function() return { gateway = "10.9.0.1", index = 9 } end
    end },
    { "port-68", "warn", "another program has UDP port 68", "ss -ulpn", file("/proc/net/udp", UDP68) },
    { "gateway", "fail", "gateway 10.0.0.1 does not answer", "arping 10.0.0.1",
      function() look.entry = { address = "10.0.0.1", state = "failed" } end },
    { "gateway", "warn", "no default gateway", "ip route add",
      function() look.netlink.default_route = function() end end },
    { "ipv6", "warn", "the kernel has no IPv6", "ipv6.disable", file("/proc/net/if_inet6", nil) },
    { "ipv6", "warn", "switched off on eth0", "sysctl", file("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1\n") },
    { "read-only", "ok", "can only be read", nil, function() look.can_write = function() return false end end },
    { "second-moonlb", "fail", "2 moonlb run here", "stop all but one",
      run(moonlb(5, 1), moonlb(6, 1)) },
    { "second-moonlb", "ok", "one moonlb runs here", nil,
      run(moonlb(5, 1), moonlb(6, 5), { pid = 7, parent = 1, name = "moonlb", command = "moonlb\0doctor\0" }) },
    { "second-moonlb", "warn", "TCP port 2112", "--port", file("/proc/net/tcp", TCP2112) },
    { "kube-vip-here", "warn", "kube-vip runs here (pid 9)", "svc_enable=false",
      run({ pid = 9, parent = 1, name = "kube-vip", command = "/kube-vip\0manager\0" }) },
    { "rbac", "fail", "patch services/status", "kubectl apply", function() look.refused["patch services"] = true end },
    { "rbac", "warn", "no credentials", "--kubeconfig",
      function() look.client, look.client_error = nil, "no credentials" end },
    { "configmap", "fail", "there is no ConfigMap kube-system/kubevip", "create configmap kubevip",
      function() look.lists = {} end },
    { "strict-arp", "fail", "IPVS without strictARP", "strictARP: true",
      proxy("apiVersion: v1\nipvs:\n  strictARP: false\nmode: \"ipvs\"\n") },
    { "strict-arp", "ok", "IPVS with strictARP", nil, proxy("ipvs:\n  strictARP: true\nmode: ipvs\n") },
    { "strict-arp", "ok", "does not use IPVS", nil, proxy("ipvs:\n  strictARP: false\nmode: iptables\n") },
    { "clock", "warn", "3600 s ago", "timedatectl", lease("2025-12-31T23:00:00.000000Z") },
    { "clock", "warn", "60 s ahead", "timedatectl", lease("2026-01-01T00:01:00.000000Z") },
    { "clock", "warn", "nobody leads", "get lease", object(LEASE, { spec = { holderIdentity = "" } }) },
    { "clock", "warn", "not compared with the leader's", "get lease", object(LEASE, nil) },
    { "kube-vip", "warn", "were not looked at", "--kubeconfig", function() look.list_error = "forbidden" end },
    { "strict-arp", "warn", "not looked at", "--kubeconfig", function()
      look.client.get = function() return nil, "forbidden", "Forbidden" end
    end },
    { "rbac", "fail", "cannot be asked", "kubectl version", function()
      look.client.create = function() return nil, "connection refused" end
    end },
    { "kube-vip", "fail", "svc_enable=true", "--allocate alone", pods("true") },
    { "kube-vip", "ok", "control plane alone", nil, pods("false") },
    { "foreign-hosts", "warn", "announced by node node9", "svc_enable=false", function()
      look.lists["/api/v1/services"] = { { metadata = { namespace = "demo", name = "web",
        annotations = { ["kube-vip.io/vipHost"] = "node9" } } } }
    end },
    { "foreign-hosts", "fail", "Services cannot be read", "kubectl apply",
      function() look.list_error = "forbidden" end },
    { "ready", "warn", "no moonlb runs here", "moonlb run", function() look.health = nil end },
    { "ready", "warn", "not looked at", "as root", function() look.health, look.code = nil, "EACCES" end },
    { "ready", "fail", "ended without a farewell", "logs",
      function() look.health, look.code = nil, "ECONNREFUSED" end },
    { "ready", "fail", "services: not listed yet", "log", health({ missing = { "services: not listed yet" } }) },
    { "peers", "warn", "not looked at", "get pods", function() look.health, look.code = nil, "ECONNREFUSED" end },
    { "peers", "warn", "not heard any more: node3", "2113",
      health({ peers = { { name = "node3", is_alive = false } } }) },
    { "peers", "warn", "alone, or cut off", "another node", health({ peers = {} }) },
    { "pulse", "warn", "3 events of the pulse were lost", "load", health({ events_lost = 3 }) },
    { "pulse", "fail", "mute (gap)", "load", health({ mute = "gap" }) },
  }

  for i, case in ipairs(CASES) do
    it(("%d: %s is %s: %s"):format(i, case[1], case[2], case[3]), function()
      case[5]()
      assert_finds(case[1], case[2], case[3], case[4])
    end)
  end

  it("has a case for every check", function()
    local seen = {}
    for _, case in ipairs(CASES) do seen[case[1]] = true end
    for _, it in ipairs(doctor.CHECKS) do assert.is_true(seen[it.name], it.name) end
  end)

  it("has a command for all that is not ok, also where nothing can be looked at", function()
    look.netlink, look.netlink_error, look.client, look.health = nil, "netlink: no", nil, nil
    local count = 0
    for _, it in ipairs(doctor.examine(look)) do
      assert_has_command(it)
      count = count + (it.result == "ok" and 0 or 1)
    end
    assert.is_true(count >= 12)
  end)

  it("goes on when a check breaks, and says so", function()
    look.processes = function() error("no /proc") end
    assert_finds("second-moonlb", "fail", "the check itself failed")
    assert_finds("rbac", "ok", "all rights are there")
  end)
end)

describe("doctor's rights", function()
  -- "verb group/resource[/subresource] names"
  local function granted()
    local all = {}
    local file <close> = assert(io.open("manifests/base/moonlb.yaml"))
    for _, object in ipairs(lyaml.load(file:read("a"), { all = true })) do
      for _, rule in ipairs(object.rules or {}) do
        for _, verb in ipairs(rule.verbs) do
          local text = ("%s %s/%s %s"):format(verb, rule.apiGroups[1], rule.resources[1],
            table.concat(rule.resourceNames or {}, ","))
          all[text] = true
        end
      end
    end
    return all
  end

  it("are those that the manifests grant, all of them", function()
    local asked = {}
    for _, it in ipairs(rights) do
      for _, verb in ipairs(it.verbs) do
        local resource = it.resource .. (it.subresource and "/" .. it.subresource or "")
        asked[("%s %s/%s %s"):format(verb, it.group, resource, it.name or "")] = true
      end
    end
    assert.same(granted(), asked)
  end)
end)

describe("moonlb doctor", function()
  it("looks at this machine without an API server: JSON, exit code", function()
    local out = {}
    local code = command.run({ output = "json" }, { write = function(text) out[#out + 1] = text end,
      environment = { KUBECONFIG = "/nonexistent", HOME = "/nonexistent" } })
    local result = cjson.decode(table.concat(out))
    assert.equal(#doctor.CHECKS, #result.findings)
    assert.equal(result.worst == "fail" and 1 or 0, code)
    for _, it in ipairs(result.findings) do
      if it.check == "rbac" then assert.matches("no credentials", it.says) end
    end
  end)

  it("refuses a flag that makes no sense", loop.test(function()
    local said
    assert.equal(2, command.run({ output = "table", probe = "never" }, { environment = {},
      complain = function(text) said = text end }))
    assert.matches("%-%-probe never", said)
  end))
end)
