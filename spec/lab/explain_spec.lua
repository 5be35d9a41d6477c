-- `moonlb explain`, `doctor` and `record dump` on a LAN: two nodes announce, a person asks at one of them.
local cjson = require("cjson")
local dhcp_lab = require("spec.support.dhcp_lab")
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local temporary = require("spec.support.temporary")
local uv = require("luv")
require("spec.support.inside_lab")

local MOONLB = assert(uv.fs_realpath(program.moonlb()))

-- A lab with moonlb on each node, its state in a folder of the test.
local function test(count, body)
  return lab.test(function(it)
    local folders = {}
    for i = 1, count do
      folders[i] = temporary.folder("moonlb-explain")
      it:moonlb("node" .. i, { "--state-dir", folders[i], "--probe", "fast" })
    end
    local function ask(i, ...)
      return it:on("node" .. i, MOONLB, ...)
    end
    local function explain(i, name)
      local result = ask(i, "explain", "demo/" .. name, "-o", "json", "--state-dir", folders[i], "--kubeconfig",
        it.nodes.kubeconfig)
      return cjson.decode((result.output:match("{.*}")))
    end
    body(it, ask, explain, folders)
  end, { count = count })
end

local function number_of(node) return math.tointeger(tonumber(node:match("%d+$"))) end

-- What the sentence is about, as soon as it is that.
local function until_said(explain, i, name, code, words)
  local report
  local is_said = pcall(loop.until_true, function()
    report = explain(i, name)
    return report.diagnosis == code and report.sentence:find(words, 1, true)
  end, 20)
  assert(is_said, report.diagnosis .. ": " .. report.sentence)
  return report
end

describe("moonlb explain on a LAN", function()
  it("says who announces, since when, what was asked and answered, and who else could", test(2, function(it, ask,
    explain, folders)
    it:service("web")
    local ip = it:until_address("web")
    assert.is_true(it:is_answered(ip))
    loop.until_true(function() return it:get("web").metadata.annotations["kube-vip.io/vipHost"] end, 10, "an owner")
    local owner = it:get("web").metadata.annotations["kube-vip.io/vipHost"]
    local here, there = number_of(owner), 3 - number_of(owner)
    local report = explain(here, "web")
    -- The Service has no Pods here: its endpoints are none, and that is what a person must hear.
    assert.equal("no-endpoint", report.diagnosis)
    assert.same({ owner, true }, { report.owner.node, report.owner.is_here })
    local says = {}
    for _, frame in ipairs(report.frames) do says[#says + 1] = frame.direction .. " " .. frame.says end
    assert.matches("in who has " .. ip .. "%? asks", table.concat(says, "\n"))
    assert.matches("out " .. ip .. " is at", table.concat(says, "\n"))
    loop.until_true(function()
      local nodes = explain(there, "web").nodes
      return #nodes == 2 and not nodes[2].is_unheard
    end, 10, "both nodes are heard")
    report = explain(there, "web")
    assert.same({ owner, false }, { report.owner.node, report.owner.is_here })
    assert.same({ 1, 2 }, { report.nodes[1].rank, report.nodes[2].rank })
    local page = ask(here, "explain", "demo/web", "--state-dir", folders[here]).output
    assert.matches("\nRULE +RESULT +WHY\n", page)
    assert.matches("\n +1  node%d", page)
    assert.matches("ARP +ON\n", page)
    assert.matches("in +eth0 +who has " .. ip, page)
    assert.matches("owner +" .. owner .. " %(term %d+, this node%)", page)
  end))

  it("says which interface is down, and who the stranger is", test(1, function(it, _, explain)
    it:service("web")
    local ip = it:until_address("web")
    it:on("node1", "ip", "link", "set", "eth0", "down")
    until_said(explain, 1, "web", "interface-down", "interface eth0 is down")
    it:on("client", "ip", "address", "add", ip .. "/24", "dev", "eth0")
    it:on("node1", "ip", "link", "set", "eth0", "up")
    local mac = it:on("client", "ip", "-o", "link", "show", "eth0").output:match("ether (%S+)")
    -- A pool's address is replaced by another; the Service that asks for this one meets the stranger.
    it:on("client", "arping", "-U", "-c", "5", "-w", "2", "-I", "eth0", ip)
    it:service("wants", { loadBalancerIP = ip })
    local report = until_said(explain, 1, "wants", "quarantined", mac)
    assert.matches("take that machine off", report.sentence)
  end))
end)

describe("moonlb explain of a lease", function()
  it("shows its times, and that no server renewed it", dhcp_lab.test("kea", { lease = 8, t1 = 2, t2 = 4 },
    function(it, server)
      local folder = temporary.folder("moonlb-explain")
      it:moonlb("node1", { "--state-dir", folder })
      it:service("web", dhcp_lab.WANTED)
      local ip = dhcp_lab.until_leased(it, "web")
      local function explain()
        local result = it:on("node1", MOONLB, "explain", "demo/web", "-o", "json", "--state-dir", folder)
        return cjson.decode((result.output:match("{.*}")))
      end
      local lease = explain().lease
      assert.equal(ip, lease.address)
      assert.is_true(lease.t1 < lease.t2 and lease.t2 < lease.expires and lease.expires > os.time())
      server:stop(true)
      until_said(explain, nil, nil, "dhcp-expired", ("the DHCP lease of %s expired"):format(ip))
    end))
end)

describe("moonlb doctor and record on a LAN", function()
  it("see the node, its peers, and what was sent", test(2, function(it, ask, _, folders)
    it:service("web")
    local ip = it:until_address("web")
    assert.is_true(it:is_answered(ip))
    local found = {}
    loop.until_true(function()
      local result = ask(1, "doctor", "-o", "json", "--state-dir", folders[1], "--kubeconfig", it.nodes.kubeconfig)
      local findings = cjson.decode((result.output:match("{.*}"))).findings
      for _, finding in ipairs(findings) do found[finding.check] = finding end
      return found.peers.result == "ok"
    end, 20, "peers are heard")
    assert.equal("heard: node2", found.peers.says)
    for _, name in ipairs({ "interface", "rbac", "configmap", "ready", "pulse", "second-moonlb", "strict-arp" }) do
      assert.equal("ok", found[name].result, found[name].says)
    end
    assert.matches("eth0 %(", found.interface.says)
    local owner = number_of(it:get("web").metadata.annotations["kube-vip.io/vipHost"])
    local path = folders[owner] .. "/frames.pcapng"
    local result = ask(owner, "record", "dump", "--state-dir", folders[owner], "--pcap", path)
    assert.equal(0, result.code, result.output)
    local text = it:on("node1", "tshark", "-r", path, "-Y", "arp.isgratuitous && arp.src.proto_ipv4 == " .. ip, "-T",
      "fields", "-e", "frame.interface_name").output
    assert.matches("\neth0", "\n" .. text)
  end))
end)
