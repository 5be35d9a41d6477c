--- moonlb.control.giving: what a session with --write does with an address, and says of it.
local async = require("moonlb.async")
local giving = require("moonlb.control.giving")
local loop = require("spec.support.loop")

local VIP, PATIENCE = "10.0.0.100", giving.PATIENCE

-- An announcer that node1 is; `takes(announcer)` runs when a move was asked for.
local function new_announcer(takes)
  local group = { id = "g", services = { "demo/web" }, addresses = { VIP } }
  local it = { claim = { term = 3, node = "node1" }, asked = {}, vips = {}, candidates = {
    { name = "node1", is_me = true, qualifies = true }, { name = "node2", qualifies = true },
    { name = "node3", qualifies = false, why = "not heard" } } }
  it.groups = { services_of = function(_, ip) return ip == VIP and group.services or {} end,
    of = function() return group end }
  it.placement = { describe = function() return { candidates = it.candidates } end }
  function it.record() return it.claim end
  function it.move(_, ip, node)
    it.asked[#it.asked + 1] = ip .. " " .. node
    if takes then async.timer(0.1, function() takes(it) end) end
    return true
  end
  function it.withdraw_move(_, ip) it.withdrawn = ip end
  function it.release(_, ip)
    it.released = ip
    return true
  end
  return it
end

describe("giving.move", function()
  after_each(function() giving.PATIENCE = PATIENCE end)

  it("waits until the node has it, and says so", loop.test(function()
    local announcer = new_announcer(function(it) it.claim = { term = 4, node = "node2" } end)
    local result = assert(giving.move(announcer, VIP, "node2"))
    assert.same({ VIP, "node1", "node2" }, { result.address, result.from, result.node })
    assert.is_true(result.seconds > 0 and result.seconds < 2)
    assert.is_nil(announcer.withdrawn)
  end))

  it("is done where the address is there already", loop.test(function()
    assert.same({ address = VIP, from = "node1", node = "node1", seconds = 0 },
      giving.move(new_announcer(), VIP, "node1"))
  end))

  it("asks for nothing that cannot be", loop.test(function()
    local announcer = new_announcer()
    local function refused(text, node)
      local result, message, code = giving.move(announcer, text, node)
      assert.is_nil(result)
      return message, code
    end
    assert.matches("not moved to node9: no moonlb of that name is heard; those that are: node1, node2, node3",
      (refused(VIP, "node9")))
    assert.same({ "10.0.0.100 is not moved to node3: not heard", "EHOSTUNREACH" }, { refused(VIP, "node3") })
    assert.equal("ENOENT", select(2, refused("10.0.0.7", "node2")))
    assert.equal("ENOENT", select(2, refused("no address", "node2")))
    announcer.candidates = {}
    assert.matches("does not know the others yet", (refused(VIP, "node2")))
    announcer.claim = nil
    assert.matches("no node has claimed", (refused(VIP, "node2")))
    assert.same({}, announcer.asked)
    assert.equal("ENOTSUP", select(3, giving.move(nil, VIP, "node2")))
  end))

  it("takes the request back when the node does not take it", loop.test(function()
    giving.PATIENCE = 0.2
    local announcer = new_announcer()
    local _, message, code = giving.move(announcer, VIP, "node2")
    assert.matches("node node2 did not take it within", message)
    assert.same({ "ETIMEDOUT", VIP }, { code, announcer.withdrawn })
  end))

  it("says who took it meanwhile", loop.test(function()
    local announcer = new_announcer(function(it) it.claim = { term = 4, node = "node1" } end)
    local _, message = giving.move(announcer, VIP, "node2")
    assert.matches("node node1 took it meanwhile", message)
    assert.equal(VIP, announcer.withdrawn)
  end))
end)

describe("giving.release", function()
  it("says what is given up, and whether it was here", function()
    local announcer = new_announcer()
    announcer.vips[VIP] = { is_answering = function() return true end }
    assert.same({ address = VIP, services = { "demo/web" }, was_here = true }, giving.release(announcer, VIP))
    assert.equal(VIP, announcer.released)
    assert.equal("ENOENT", select(3, giving.release(announcer, "10.0.0.7")))
  end)
end)
