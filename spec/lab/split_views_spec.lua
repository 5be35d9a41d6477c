-- Views that differ: keys, recordings, clusters, links that carry one way, an API that is away. Real moonlb processes.
local async = require("moonlb.async")
local base64 = require("moonlb.kube.base64")
local failover = require("spec.support.failover")
local forward = require("moonlb.sandbox.forward")
local loop = require("spec.support.loop")
local uv = require("luv")

local VIP = "10.77.0.150"
local SECRET = "/api/v1/namespaces/kube-system/secrets/moonlb-heartbeat"

local function other_than(name) return function(owner) return owner ~= name end end

local function test(count, body)
  return failover.test(function(lab)
    local play = failover.play(lab, count)
    lab:service("web", { loadBalancerIP = VIP })
    lab:until_address("web", VIP)
    body(play, play:settled_owner("web"), lab)
  end, { count = count, timeout = 90 })
end

describe("split views", function()
  it("a key that is changed: nobody is lost, nothing moves", test(2, function(play, owner, lab)
    local _, claim = play:owner("web")
    local client = play:client(200, VIP)
    local former = assert(lab.kube:get(SECRET)).data.current
    local fresh = base64.encode(uv.random(32))
    assert(lab.kube:merge_patch(SECRET, { data = { current = fresh, previous = former } }))
    play:until_said("node1", "has_previous=true")
    play:until_said("node2", "has_previous=true")
    async.sleep(0.5)
    assert(lab.kube:merge_patch(SECRET, { data = { previous = "" } }))
    async.sleep(1.5)
    assert.equal(0, client:stop()[VIP].lost)
    assert.equal(claim, select(2, play:owner("web")))
    assert.same({ owner }, play:answering(VIP))
  end))

  it("a recording of a dead owner brings it to nobody's mind", test(2, function(play, owner, lab)
    local mac = lab:on(owner, "ip", "-o", "link", "show", "eth0").output:match("link/ether (%S+)")
    local recorder = lab:start("client", "/usr/bin/python3", uv.cwd() .. "/spec/support/replay.py", "eth0", "2113", mac)
    assert(recorder:wait_for(function()
      return (tonumber(recorder:output():match(".*recorded (%d+)")) or 0) > 10
    end, 10), recorder:output())
    local client = play:client(100, VIP)
    play:signal(owner, "sigkill")
    recorder:write("replay\n")
    client:until_from(owner)
    local heir = play:until_owner("web", other_than(owner))
    async.sleep(1)
    assert.equal(heir, client:from(VIP))
    client:stop()
    assert.same({ heir }, play:answering(VIP))
    recorder:write(nil)
    recorder:wait(5)
  end))

  it("an API that is away: who holds goes on, and who dies is replaced", test(2, function(play, owner, lab)
    local client = play:client(100, VIP)
    lab.server:stop()
    async.sleep(1)
    assert.equal(owner, client:from(VIP))
    play:signal(owner, "sigkill")
    client:until_from(owner)
    client:stop()
    assert.same({ owner == "node1" and "node2" or "node1" }, play:answering(VIP))
  end))

  it("an API that one node alone cannot reach: its addresses go, and no request is lost, to one that sees deletions",
    failover.test(function(lab)
      local play = failover.play(lab, 2)
      lab:service("web", { loadBalancerIP = VIP })
      lab:until_address("web", VIP)
      local owner = play:settled_owner("web")
      local heir = owner == "node1" and "node2" or "node1"
      local rules = ("add table inet cut; add chain inet cut in { type filter hook input priority 0; }; "
        .. "add rule inet cut in tcp dport PORT drop; add rule inet cut in tcp sport PORT drop")
      local cut = lab:on(owner, "nft", (rules:gsub("PORT", tostring(lab.server.port))))
      if cut.code ~= 0 then return pending("this kernel filters nothing: " .. cut.output) end
      local client = play:client(200, VIP)
      loop.until_true(function() return lab.output[owner]:find("view of the API is old", 1, true) end, 100, "it is old")
      loop.until_true(function() return play:owner("web") == heir end, 20, "the other node takes it")
      async.sleep(0.5)
      assert.equal(0, client:stop()[VIP].lost)
      assert.same({ heir }, play:answering(VIP))
      lab:on(owner, "nft", "delete table inet cut")
      loop.until_true(function() return lab.output[owner]:find("up to date again", 1, true) end, 60, "it is back")
      async.sleep(1)
      assert.equal(heir, (play:owner("web")))
    end, { count = 2, timeout = 200 }))

  it("a node with another key: each serves as if alone, both say so; with the right key one does", test(2,
    function(play, owner, lab)
      local other = owner == "node1" and "node2" or "node1"
      assert(lab.kube:create("/api/v1/namespaces", { metadata = { name = "wrong" } }))
      assert(lab.kube:create("/api/v1/namespaces/wrong/secrets", { metadata = { name = "moonlb-heartbeat" },
        data = { current = base64.encode(uv.random(32)) } }))
      local process = play.running[other]
      play:signal(other, "sigterm")
      assert.equal(0, process:wait(10))
      lab.output[other] = ""
      process = lab:moonlb(other, { "--probe", "off", "--port", "2112", "--announce", "--configmap-namespace",
        "wrong" })
      play.running[other] = process
      loop.until_true(function() return #play:answering(VIP) == 2 end, 20, "both answer")
      local metrics = lab:on(other, "curl", "-s", "http://127.0.0.1:2112/metrics").output
      assert.matches("moonlb_heartbeats_total{verdict=\"foreign\"} [1-9]", metrics)
      assert.matches("moonlb_heartbeats_total{verdict=\"heard\"} 0", metrics)
      play:signal(other, "sigterm")
      assert.equal(0, process:wait(10))
      lab.output[other] = ""
      play:run(other)
      play:until_said(other, "heartbeat key")
      loop.until_true(function() return #play:answering(VIP) == 1 end, 15, "one answers")
      loop.until_true(function() return play:answering(VIP)[1] == play:owner("web") end, 15, "the API says which")
    end))

  it("a link that carries nothing of the owner's: another takes over, and the owner, who hears that, yields",
    test(3, function(play, owner, lab)
      local cut = lab:on(owner, "nft", "add table netdev mute; add chain netdev mute out "
        .. "{ type filter hook egress device eth0 priority 0; policy drop; }")
      if cut.code ~= 0 then return pending("this kernel filters nothing on the way out: " .. cut.output) end
      play:until_said(owner, "held by node")
      local heir = play:until_owner("web", other_than(owner))
      assert.same({ heir }, play:answering(VIP))
      lab:on(owner, "nft", "delete table netdev mute")
      async.sleep(1)
      assert.same({ heir }, play:answering(VIP))
      assert.equal(heir, (play:owner("web")))
    end))

  it("two clusters on one LAN: each minds its own", test(1, function(play, owner, lab)
    local second = assert(require("moonlb.sandbox.api").start({ port = 0 }))
    local socket = lab.folder .. "/second.sock"
    local way = assert(forward.start({ path = socket }, { host = "127.0.0.1", port = second.port }))
    local path = lab.folder .. "/second.kubeconfig"
    local file = assert(io.open(path, "w"))
    file:write(second:kubeconfig())
    file:close()
    local core = assert(require("moonlb.core.kube").client({ server = second.url }))
    assert(require("moonlb.kube.client").new(core):create("/api/v1/namespaces/default/services", {
      metadata = { name = "web" },
      spec = { type = "LoadBalancer", loadBalancerIP = "10.77.0.151", ports = { { port = 80 } } } }))
    core:close()
    -- On the client's host of the LAN, which has no other moonlb.
    local helper = lab:start("client", lab.nodes.program, "sandbox", "node", "--name", "second", "--api", socket,
      "--api-port", tostring(second.port), "--http-port", "8081")
    assert(helper:wait_for(function() return helper:output():find("ready") end, 10), helper:output())
    local moonlb = lab:start("client", lab.nodes.program, "run", "--kubeconfig", path, "--node-name", "node1",
      "--probe", "off", "--port", "2112")
    loop.until_true(function()
      return lab:on("router", "arping", "-c", "1", "-w", "1", "-I", "eth0", "10.77.0.151").code == 0
    end, 20, "the second cluster's address")
    async.sleep(1)
    assert.same({ owner }, play:answering(VIP, "router"))
    local metrics = lab:on("client", "curl", "-s", "http://127.0.0.1:2112/metrics").output
    assert.matches("moonlb_heartbeats_total{verdict=\"foreign\"} [1-9]", metrics)
    assert.matches("moonlb_heartbeats_total{verdict=\"heard\"} 0", metrics)
    moonlb:write(nil)
    require("moonlb.sandbox.lan").kill(moonlb, "sigterm")
    moonlb:wait(10)
    way:close()
    second:stop()
    os.remove(socket)
    os.remove(path)
  end))
end)
