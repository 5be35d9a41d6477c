local claims = require("moonlb.announcer.claims")
local simulation = require("spec.support.placement_simulation")

-- HISTORIES=2000 plays more of them; SEED starts elsewhere.
local HISTORIES = tonumber(os.getenv("HISTORIES") or 40)
local SEED = tonumber(os.getenv("SEED") or 1)

local function play(options)
  for seed = SEED, SEED + HISTORIES - 1 do
    local result = simulation.run(seed, options)
    if #result.violations > 0 then
      error(("seed %d: %s\nhistory:\n%s"):format(seed, result.violations[1], table.concat(result.history, "\n")))
    end
  end
end

describe("claims under random faults", function()
  it("keep one owner for each group, and never leave one without", function() play({}) end)

  it("do so on a LAN when no set fits into one frame, by digests alone", function()
    play({ one_frame = 0, delays = { 1 }, seconds = 40 })
  end)

  it("leave every group where it is when a node joins", function()
    local moved
    local result = simulation.run(SEED, {
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
