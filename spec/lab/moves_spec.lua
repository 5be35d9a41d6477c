-- Planned moves between real nodes: asked for by people, by the leader's ranking, by a roll-out. No request is lost.
local async = require("moonlb.async")
local failover = require("spec.support.failover")
local loop = require("spec.support.loop")
local program = require("spec.support.program")

local VIP = "10.77.0.150"

local function moonlb(lab, ...)
  local arguments = { ... }
  table.insert(arguments, 2, "--kubeconfig")
  table.insert(arguments, 3, lab.nodes.kubeconfig)
  return program.run(program.moonlb(), arguments, { timeout = 60 })
end

local function is(name) return function(owner) return owner == name end end
local function other_than(name) return function(owner) return owner ~= name end end

-- Another node than these.
local function another(play, ...)
  local taken = {}
  for _, name in ipairs({ ... }) do taken[name] = true end
  for i = 1, play.count do
    if not taken["node" .. i] then return "node" .. i end
  end
end

local function test(count, body, options)
  return failover.test(function(lab)
    local play = failover.play(lab, count, nil, options and options.arguments)
    lab:service("web", { loadBalancerIP = VIP })
    if not (options and options.is_unplaced) then
      lab:until_address("web", VIP)
      body(play, lab, play:settled_owner("web"))
    else
      body(play, lab)
    end
  end, { count = count, timeout = 120 })
end

describe("moonlb move", function()
  it("moves an address without a lost request, and says what it did", test(3, function(play, lab, owner)
    local target = another(play, owner)
    local client = play:client(500, VIP)
    local result = moonlb(lab, "move", VIP, target)
    assert.equal("", result.stderr)
    assert.equal(0, result.code)
    assert.truthy(result.stdout:find(("%s (demo/web): %s -> %s, "):format(VIP, owner, target), 1, true), result.stdout)
    client:until_from(owner)
    async.sleep(0.5)
    assert.equal(target, client:from(VIP))
    assert.equal(0, client:stop()[VIP].lost)
    assert.same({ target }, play:answering(VIP))
    loop.until_true(function()
      return lab:get("web").metadata.annotations["moonlb.io/move"] == nil
    end, 10, "the request is taken off the Service")
  end))

  it("a request that was carried out moves nothing again, whoever comes back", test(2, function(play, lab, owner)
    local target = another(play, owner)
    local _, claim = play:owner("web")
    assert.equal(0, moonlb(lab, "move", "demo/web", target).code)
    assert.equal(0, moonlb(lab, "move", "demo/web", owner).code)
    local path = "/api/v1/namespaces/demo/services/web"
    -- As `kubectl apply` of an old manifest would write it.
    assert(lab.kube:merge_patch(path, { metadata = { annotations = {
      ["moonlb.io/move"] = target .. " " .. claim:match("^%d+") } } }))
    async.sleep(1.5)
    assert.same({ owner }, play:answering(VIP))
  end))

  it("says why a node does not take it, and leaves nothing behind", test(2, function(play, lab, owner)
    local target = another(play, owner)
    play:annotate_node(target, "moonlb.io/drain", "true")
    play:until_said(target, "this node is to serve nothing")
    local result = moonlb(lab, "move", VIP, target)
    assert.equal(1, result.code)
    assert.truthy(result.stderr:find("this node serves nothing new at present", 1, true), result.stderr)
    assert.is_nil(lab:get("web").metadata.annotations["moonlb.io/move"])
    assert.same({ owner }, play:answering(VIP))
    result = moonlb(lab, "move", VIP, "node9")
    assert.equal(1, result.code)
    assert.matches("node9", result.stderr)
  end))
end)

describe("moonlb rebalance", function()
  it("spreads addresses one after another without a lost request; --dry-run moves nothing", test(2, function(play, lab)
    local addresses = { VIP }
    for i = 1, 5 do
      addresses[i + 1] = "10.77.0." .. 150 + i
      lab:service("web" .. i, { loadBalancerIP = addresses[i + 1] })
      lab:until_address("web" .. i, addresses[i + 1])
    end
    play:annotate_node("node2", "moonlb.io/drain", "true")
    loop.until_true(function()
      for i = 1, 5 do if play:owner("web" .. i) ~= "node1" then return false end end
      return play:owner("web") == "node1"
    end, 20, "all on node1")
    play:annotate_node("node2", "moonlb.io/drain", "false")
    play:until_said("node2", "this node serves again")
    local dry = moonlb(lab, "rebalance", "--dry-run")
    assert.equal(0, dry.code)
    assert.matches("3 of 6 would move\n$", dry.stdout)
    local client = play:client(600, table.unpack(addresses))
    local result = moonlb(lab, "rebalance")
    assert.equal("", result.stderr)
    assert.equal(0, result.code)
    assert.matches("3 of 6 moved, 0 refused\n$", result.stdout)
    async.sleep(0.5)
    for address, seen in pairs(client:stop()) do assert.equal(0, seen.lost, address) end
    assert.matches("^0 of 6 moved", moonlb(lab, "rebalance").stdout)
  end))
end)

describe("moonlb.io/place", function()
  it("moves an address when the leader ranks another node first", test(3, function(play, lab, owner)
    local target = another(play, owner)
    local client = play:client(500, VIP)
    assert(lab.kube:merge_patch("/api/v1/namespaces/demo/services/web", { metadata = { annotations = {
      ["moonlb.io/place"] = target .. "," .. owner } } }))
    play:until_owner("web", is(target))
    async.sleep(0.5)
    assert.equal(0, client:stop()[VIP].lost)
    assert.same({ target }, play:answering(VIP))
    -- It comes back to find what was so before: that is no reason to move.
    play:signal(target, "sigkill")
    local heir = play:until_owner("web", other_than(target))
    play:run(target)
    async.sleep(2.5)
    assert.equal(heir, (play:owner("web")))
  end))
end)

describe("--node-selector", function()
  it("lets only nodes with the labels hold addresses, and follows the labels", test(2, function(play, lab)
    async.sleep(1.5)
    assert.is_nil((play:owner("web")))
    local function label(name, value)
      assert(lab.kube:merge_patch("/api/v1/nodes/" .. name, { metadata = { labels = { role = value } } }))
    end
    label("node2", "edge")
    play:until_owner("web", is("node2"))
    lab:until_address("web", VIP)
    label("node1", "edge")
    play:until_said("node1", "this node serves again")
    local client = play:client(500, VIP)
    label("node2", "core")
    play:until_owner("web", is("node1"))
    async.sleep(0.5)
    assert.equal(0, client:stop()[VIP].lost)
  end, { arguments = { "--node-selector", "role in (edge)" }, is_unplaced = true }))
end)

describe("a roll-out", function()
  it("restarts every node, one after another, without a lost request", test(3, function(play, lab)
    local addresses = { VIP }
    for i = 1, 5 do
      addresses[i + 1] = "10.77.0." .. 150 + i
      lab:service("web" .. i, { loadBalancerIP = addresses[i + 1] })
      lab:until_address("web" .. i, addresses[i + 1])
    end
    local client = play:client(600, table.unpack(addresses))
    for i = 1, 3 do
      local name = "node" .. i
      local process = play.running[name]
      play:signal(name, "sigterm")
      assert.equal(0, process:wait(15))
      lab.output[name] = ""
      play:run(name)
      play:until_said(name, "heartbeat key")
      async.sleep(1)
    end
    for address, seen in pairs(client:stop()) do assert.equal(0, seen.lost, address) end
  end))
end)
