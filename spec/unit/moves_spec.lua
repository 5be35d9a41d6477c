local balance = require("moonlb.announcer.balance")
local label_selector = require("moonlb.kube.label_selector")
local moves = require("moonlb.announcer.moves")
local peers = require("moonlb.announcer.peers")
local settings = require("moonlb.cli.settings")

describe("moves.parse", function()
  it("reads what format writes", function()
    assert.same({ node = "node-1.example", term = 7 }, moves.parse(moves.format("node-1.example", 7)))
  end)

  it("refuses anything else", function()
    for _, text in ipairs({ "", "node1", "7 node1", "node1 7 8", "node1 -7", "node1 1e3", "node1 9999999999999999",
      ("n"):rep(254) .. " 1" }) do
      assert.equal("EINVAL", select(3, moves.parse(text)), text)
    end
  end)
end)

describe("moves", function()
  -- Answers of `take` by group, and a clock whose timers are run by hand.
  local function new(answers)
    local self = { said = {}, taken = {}, pauses = {} }
    local due
    self.moves = moves.new({
      take = function(id)
        local answer, why = answers(id)
        if answer then self.taken[#self.taken + 1] = id end
        return answer, why
      end,
      after = function(seconds, fn)
        self.pauses[#self.pauses + 1] = seconds
        due = fn
      end,
      tell = function(id, why) self.said[#self.said + 1] = id .. ": " .. why end,
    })
    function self.turn()
      local fn = due
      due = nil
      if fn then fn() end
      return fn ~= nil
    end
    return self
  end

  it("are carried out one after another, in the order in which they were asked for", function()
    local it = new(function() return true end)
    for _, id in ipairs({ "c", "a", "b" }) do it.moves:set(id, 1) end
    while it.turn() do end
    assert.same({ "c", "a", "b" }, it.taken)
    assert.same({ 0, moves.PAUSE, moves.PAUSE }, it.pauses)
  end)

  it("that have to wait stand in no other's way, and say so once", function()
    local can = false
    local it = new(function(id)
      if id == "a" and not can then return nil, "not yet" end
      return true
    end)
    it.moves:set("a", 1)
    it.moves:set("b", 1)
    it.turn()
    it.turn()
    it.turn()
    assert.same({ "b" }, it.taken)
    assert.same({ "a: not yet" }, it.said)
    can = true
    it.turn()
    assert.same({ "b", "a" }, it.taken)
    assert.is_false(it.turn())
  end)

  it("that are spent or taken back are forgotten", function()
    local it = new(function() return false end)
    it.moves:set("a", 1)
    it.moves:set("b", 1)
    it.moves:set("b", nil)
    it.turn()
    assert.same({}, it.taken)
    assert.is_false(it.turn())
  end)
end)

describe("balance.plan", function()
  local function groups(text)
    local list = {}
    for id, node in text:gmatch("(%w+)@(%w+)") do list[#list + 1] = { id = id, node = node } end
    return list
  end
  local function said(plan)
    local list = {}
    for i, step in ipairs(plan) do list[i] = ("%s %s>%s"):format(step.group.id, step.from, step.to) end
    return table.concat(list, ", ")
  end

  it("moves as few as even the nodes out, to one more or less", function()
    assert.equal("f a>b, e a>b, d a>c", said(balance.plan(groups("a@a b@a c@a d@a e@a f@a g@c"), { "a", "b", "c" })))
    assert.equal("", said(balance.plan(groups("a@a b@a c@b"), { "a", "b" })))
  end)

  it("takes groups off nodes that are not to have any, and leaves alone who has no owner", function()
    local list = groups("a@x b@a")
    list[3] = { id = "c" }
    assert.equal("a x>b", said(balance.plan(list, { "a", "b" })))
    assert.equal("", said(balance.plan(list, {})))
  end)

  it("asks no node for what that cannot serve, and ends", function()
    local function may(group, node) return node ~= "b" or group.id == "b" end
    assert.equal("b a>b", said(balance.plan(groups("a@a b@a c@a d@a"), { "a", "b" }, may)))
  end)

  it("ends with every node within one of the others, for random beginnings", function()
    for seed = 1, 200 do
      math.randomseed(seed)
      local nodes, list, held = {}, {}, {}
      for i = 1, math.random(7) do
        nodes[i] = "n" .. i
        held["n" .. i] = 0
      end
      for i = 1, math.random(0, 60) do list[i] = { id = "g" .. i, node = nodes[math.random(#nodes)] } end
      for _, group in ipairs(list) do held[group.node] = held[group.node] + 1 end
      local plan = balance.plan(list, nodes)
      assert.is_true(#plan <= #list)
      for _, step in ipairs(plan) do held[step.from], held[step.to] = held[step.from] - 1, held[step.to] + 1 end
      local least, most = math.huge, 0
      for _, count in pairs(held) do least, most = math.min(least, count), math.max(most, count) end
      assert.is_true(most - least <= 1)
    end
  end)
end)

describe("peers.serves_nothing", function()
  local function node(labels, annotations) return { metadata = { labels = labels, annotations = annotations } } end

  it("says why, by annotation, label and selector", function()
    local only_edge = { node_selector = label_selector.parse("role=edge,!slow") }
    assert.is_nil(peers.serves_nothing(node(), {}))
    assert.is_nil(peers.serves_nothing(nil, {}))
    assert.matches("drain", peers.serves_nothing(node({}, { ["moonlb.io/drain"] = "true" }), {}))
    local excluded = node({ ["node.kubernetes.io/exclude-from-external-load-balancers"] = "" })
    assert.matches("exclude", peers.serves_nothing(excluded, {}))
    assert.is_nil(peers.serves_nothing(excluded, { ignore_exclude_lb = true }))
    assert.is_nil(peers.serves_nothing(node({ role = "edge" }), only_edge))
    assert.matches("selector", peers.serves_nothing(node({ role = "edge", slow = "" }), only_edge))
    assert.matches("selector", peers.serves_nothing(nil, only_edge))
  end)
end)

describe("--node-selector", function()
  it("is refused when it is none, and without heartbeats", function()
    local function problem(arguments) return (select(2, settings.resolve(arguments, {}))) end
    assert.matches("^%-%-node%-selector a=b=c: a label selector", problem({ node_selector = "a=b=c" }))
    assert.matches("heartbeat", problem({ node_selector = "a", heartbeat = { "false" } }))
    assert.is_true(settings.resolve({ node_selector = "a" }, {}).node_selector({ metadata = { labels = { a = "" } } }))
  end)
end)
