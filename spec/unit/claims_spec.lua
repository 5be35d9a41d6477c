local claims = require("moonlb.announcer.claims")
local simulation = require("spec.support.placement_simulation")

describe("claims", function()
  it("leave every group where it is when a node joins", function()
    local moved
    local result = simulation.run(1, {
      nodes = 3, faults = { "link" }, loss = 0, seconds = 12,
      each_step = function(sim)
        sim.next_fault = math.huge
        local joiner = sim.nodes[3]
        if sim.now == 0 then joiner.up = false end
        if math.abs(sim.now - 3) < 0.001 then
          moved = sim.moves
          sim:boot(joiner)
        end
      end,
    })
    assert.same({}, result.violations)
    assert.equal(moved, result.moves)
  end)

  it("leave no group without an owner for a moment when they move on purpose, one or all at once", function()
    local moves = 0
    for seed = 1, 20 do
      local has_begun, worst = false, 0
      local result = simulation.run(seed, {
        faults = { "move", "rebalance" }, loss = 0, seconds = 15, pauses = { 0.2, 0.8 },
        each_step = function(sim)
          if sim.now > 1.4 and not has_begun then has_begun, sim.worst_vacancy = true, 0 end
          worst = sim.worst_vacancy
        end,
      })
      assert.same({}, result.violations)
      assert.equal(0, worst)
      moves = moves + result.moves
    end
    assert.is_true(moves > 100, moves .. " moves")
  end)
end)

describe("claims.step", function()
  -- Node a among b, c (alive, silent about the group) and its dead owner d: when it takes the group after d spoke last.
  local function taken_after(place)
    local self = claims.new({ me = "a", send = function() end, announce = function() end, withdraw = function() end,
      gap = false, place = function() return place end })
    self:set_group("g", true, 0)
    self:start(0)
    local function frame(name, said)
      return { from = name, digest = 0, statements = said or {}, relays = {}, heard = {}, want = {} }
    end
    for i = 1, 10 do
      self:hear(frame("d", { { "g", 1, false } }), i / 10)
      self:step(i / 10)
    end
    for i = 1, 100 do
      local now = 1 + i / 100
      self:hear(frame("b"), now)
      self:hear(frame("c"), now)
      self:step(now)
      if self.announcing.g then return i / 100 end
    end
  end

  local function near(wanted, got) assert.is_true(math.abs(wanted - got) < 0.025, wanted .. ", not " .. got) end

  it("lets the n-th candidate wait n turns after the owner's death", function()
    near(claims.SILENT, taken_after({ "a", "b", "c" }))
    near(claims.SILENT + claims.STAGGER, taken_after({ "c", "a", "b" }))
    near(claims.SILENT + 2 * claims.STAGGER, taken_after({ "c", "b", "a" }))
    near(claims.SILENT + 2 * claims.STAGGER, taken_after({ "c", "b" }))
    near(claims.SILENT, taken_after({ "d", "a" }))
  end)
end)

describe("claims.move_here", function()
  local function pair()
    local taken = {}
    local self = claims.new({ me = "a", send = function() end, announce = function(group) taken[group] = true end,
      withdraw = function(group) taken[group] = nil end })
    self:set_group("g", true, 0)
    self:start(0)
    local now = 0
    local function hear(term)
      now = now + 0.1
      self:hear({ from = "b", digest = 0, statements = { { "g", term, false } }, relays = {}, heard = {}, want = {} },
        now)
      self:step(now)
    end
    for _ = 1, 8 do hear(3) end
    return self, taken, function() return now end, hear
  end

  it("takes the group with the next term", function()
    local self, taken, now = pair()
    assert.is_true(self:move_here("g", 3, now()))
    assert.same({ term = 4, node = "a" }, self.claim.g)
    assert.is_true(taken.g)
  end)

  it("is spent once the claim has grown: a request that is read again moves nothing", function()
    local self, taken, now, hear = pair()
    assert.is_true(self:move_here("g", 3, now()))
    hear(9)
    assert.is_nil(taken.g)
    assert.is_false(self:move_here("g", 3, now()))
    assert.same({ term = 9, node = "b" }, self.claim.g)
  end)

  it("waits while this node is not willing, or does not hear the owner", function()
    local self, _, now = pair()
    self:set_willing("g", false, now())
    assert.same({ nil, "this node cannot serve it" }, { self:move_here("g", 3, now()) })
    self:set_willing("g", true, now())
    self:set_leaving(true)
    assert.same({ nil, "this node serves nothing new at present" }, { self:move_here("g", 3, now()) })
    self:set_leaving(false)
    assert.same({ nil, "node b, which holds it, is not heard here" }, { self:move_here("g", 3, now() + 1) })
    assert.is_true(self:move_here("g", 3, now()))
  end)
end)

describe("claims.consider", function()
  local function node(name)
    local log = {}
    local self = claims.new({
      me = name,
      send = function(frame) log[#log + 1] = frame end,
      announce = function(group) log[#log + 1] = "announce " .. group end,
      withdraw = function(group) log[#log + 1] = "withdraw " .. group end,
    })
    self:set_group("g", true, 0)
    self:start(0)
    for t = 0, 6 do self:step(t / 10) end
    return self, log
  end

  it("lets a record of a silent node not silence an announcer", function()
    local self = node("a")
    assert.is_true(self.announcing.g)
    self:record("g", { term = 99, node = "b" }, 0.6)
    assert.is_true(self.announcing.g)
    assert.same({ term = 1, node = "a" }, self.claim.g)
  end)

  it("lets not even a record of a living node do so: that would say it itself", function()
    local self = node("a")
    self:hear({ from = "b", digest = 0, statements = {}, relays = {}, heard = {}, want = {} }, 0.6)
    self:record("g", { term = 99, node = "b" }, 0.65)
    assert.is_true(self.announcing.g)
    self:hear({ from = "b", digest = 0, statements = { { "g", 99, false } }, relays = {}, heard = {}, want = {} }, 0.66)
    assert.is_nil(self.announcing.g)
  end)

  it("yields to a higher claim of a node that it hears", function()
    local self, log = node("a")
    self:hear({
      from = "b", digest = 0, statements = { { "g", 2, false } }, relays = {}, heard = {}, want = {},
    }, 0.65)
    assert.is_nil(self.announcing.g)
    assert.equal("withdraw g", log[#log])
  end)

  it("tells the sender of a lower claim at once", function()
    local self, log = node("a")
    self:take("g")
    self:hear({
      from = "b", digest = 0, statements = { { "g", 1, false } }, relays = {}, heard = {}, want = {},
    }, 0.65)
    assert.is_true(self.announcing.g)
    self:step(0.65)
    assert.same({ { "g", 2, false } }, log[#log].statements)
  end)
end)
