local placement = require("moonlb.announcer.placement")

-- LANs in memory: what a node says is heard, unchanged, by every other node on that LAN, at its next tick.
local function new_world()
  local world = { now = 0, nodes = {}, timers = {} }

  function world.after(seconds, fn)
    world.timers[#world.timers + 1] = { at = world.now + seconds, fn = fn }
  end

  -- `lans`: index of the interface -> name of the LAN.
  function world.node(name, lans)
    local node = { name = name, lans = lans, body = {}, heard = {}, slots = {}, changes = {}, is_up = true }
    node.placement = placement.new({ node = name, now = function() return world.now end, after = world.after,
      on_change = function(key) node.changes[#node.changes + 1] = key end })
    node.pulse = {
      say = function(_, index, body) node.body[index] = body return true end,
      heard = function(_, index) return node.heard[index] or {} end,
      retell = function() return true end,
    }
    node.connect = function()
      node.placement:connect({ pulse = node.pulse, mtu = function() return 1500 end,
        attach = function(index)
          if lans[index] then return true end
          return nil, "interface " .. index .. " cannot be listened on"
        end })
    end
    world.nodes[#world.nodes + 1] = node
    return node
  end

  local function deliver(from, index, to)
    for there, lan in pairs(to.lans) do
      if lan == from.lans[index] and from.body[index] and from.is_up and to.is_up then
        to.heard[there] = to.heard[there] or {}
        to.heard[there][from.name] = world.now
        local body = from.body[index]
        to.placement:hear({ from = from.name, slot = from.name, index = there, mac = from.name, digest = body.digest,
          statements = body.statements, relays = body.relays, want = body.want, gives_all = body.gives_all,
          stale = body.stale, heard = {},
          whole = body.whole_id and { id = body.whole_id, index = 1, total = 1 } or nil })
      end
    end
  end

  local function run_timers()
    local due = world.timers
    world.timers = {}
    for _, timer in ipairs(due) do
      if timer.at <= world.now then timer.fn() else world.timers[#world.timers + 1] = timer end
    end
  end

  function world.run(seconds)
    for _ = 1, seconds * 100 do
      world.now = world.now + 0.01
      run_timers()
      if math.floor(world.now * 100 + 0.5) % 10 == 0 then
        for _, node in ipairs(world.nodes) do
          for index in pairs(node.lans) do
            for _, other in ipairs(world.nodes) do
              if other ~= node then deliver(node, index, other) end
            end
          end
        end
        for _, node in ipairs(world.nodes) do if node.is_up then node.placement:tick() end end
      end
    end
  end

  -- Names of the nodes that own a group.
  function world.owners(id)
    local names = {}
    for _, node in ipairs(world.nodes) do
      if node.is_up and node.placement:owner(id) then names[#names + 1] = node.name end
    end
    return names
  end

  return world
end

local function update(nodes, group)
  for _, node in ipairs(nodes) do node.placement:update(group) end
end

describe("placement", function()
  local world, a, b, c

  before_each(function()
    world = new_world()
    a, b, c = world.node("a", { [2] = "red" }), world.node("b", { [2] = "red", [3] = "blue" }),
      world.node("c", { [3] = "blue" })
  end)

  local function connect()
    for _, node in ipairs(world.nodes) do node.connect() end
  end

  it("owns nothing before heartbeats can begin, and says what it waits for", function()
    update({ a, b }, { id = "g", interface = { index = 2 } })
    world.run(2)
    assert.same({}, world.owners("g"))
    local is_mine, claim, why = a.placement:owner("g")
    assert.is_false(is_mine)
    assert.is_nil(claim)
    assert.equal("the heartbeats of other nodes are not heard yet", why)
    connect()
    assert.same({ "g" }, a.changes)
  end)

  it("listens before it claims, and then there is one owner", function()
    connect()
    update({ a, b }, { id = "g", interface = { index = 2 } })
    world.run(0.4)
    assert.same({}, world.owners("g"))
    world.run(1)
    assert.equal(1, #world.owners("g"))
  end)

  it("places a group among the nodes of its own segment", function()
    connect()
    for i = 1, 20 do
      update({ a, b }, { id = "red-" .. i, interface = { index = 2 } })
      update({ b, c }, { id = "blue-" .. i, interface = { index = 3 } })
      c.placement:update({ id = "red-" .. i, trouble = "no interface here" })
      a.placement:update({ id = "blue-" .. i, trouble = "no interface here" })
    end
    world.run(2)
    local count = { a = 0, b = 0, c = 0 }
    for i = 1, 20 do
      local red, blue = world.owners("red-" .. i), world.owners("blue-" .. i)
      assert.equal(1, #red)
      assert.equal(1, #blue)
      assert.not_equal("c", red[1])
      assert.not_equal("a", blue[1])
      count[red[1]], count[blue[1]] = count[red[1]] + 1, count[blue[1]] + 1
    end
    for _, n in pairs(count) do assert.is_true(n > 0) end
  end)

  it("fails over, and what comes back moves nothing", function()
    connect()
    update({ a, b }, { id = "g", interface = { index = 2 }, place = { "a" } })
    world.run(2)
    local owner = world.owners("g")[1]
    local dead = owner == "a" and a or b
    dead.is_up = false
    world.run(0.6)
    local heir = world.owners("g")
    assert.equal(1, #heir)
    dead.is_up = true
    dead.placement:slept()
    world.run(2)
    assert.same(heir, world.owners("g"))
  end)

  it("prefers the node that the leader ranked first", function()
    connect()
    for i = 1, 10 do update({ a, b }, { id = "g" .. i, interface = { index = 2 }, place = { "b" } }) end
    a.is_up = false
    world.run(1)
    a.is_up = true
    a.placement:slept()
    b.placement:set_leaving(true)
    world.run(1)
    for i = 1, 10 do assert.same({ "a" }, world.owners("g" .. i)) end
    b.placement:set_leaving(false)
    world.run(1)
    a.placement:set_leaving(true)
    world.run(1)
    for i = 1, 10 do assert.same({ "b" }, world.owners("g" .. i)) end
  end)

  it("gives a group away that it cannot serve, and stops after 2 s when nobody takes it", function()
    connect()
    update({ a, b }, { id = "g", interface = { index = 2 } })
    world.run(2)
    update({ a, b }, { id = "g", interface = { index = 2 }, trouble = "no endpoint" })
    world.run(1)
    assert.equal(1, #world.owners("g"))
    world.run(1.5)
    assert.same({}, world.owners("g"))
    update({ a }, { id = "g", interface = { index = 2 } })
    world.run(1)
    assert.same({ "a" }, world.owners("g"))
  end)

  it("says which interface cannot be listened on, and tries again", function()
    connect()
    a.placement:update({ id = "g", interface = { index = 9 } })
    assert.same({ false, nil, "interface 9 cannot be listened on", true }, { a.placement:owner("g") })
    a.lans[9] = "green"
    world.run(11)
    assert.same({ "g" }, a.changes)
  end)

  it("writes no claim over a higher one", function()
    connect()
    a.placement:update({ id = "g", interface = { index = 2 } })
    world.run(1)
    assert.is_true(a.placement:outranks("g", nil))
    assert.is_true(a.placement:outranks("g", { term = 1, node = "a" }))
    assert.is_false(a.placement:outranks("g", { term = 2, node = "gone" }))
  end)
end)
