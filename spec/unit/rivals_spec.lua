-- Other announcers: noticed, named, not fought with.
local loop = require("spec.support.loop")
local rivals = require("moonlb.announcer.rivals")
local status = require("moonlb.announcer.status")

local function service(version, host, claim)
  return { metadata = { name = "web", namespace = "shop", resourceVersion = tostring(version),
    annotations = { [status.HOST] = host, [status.CLAIM] = claim } } }
end

local function new()
  local clock, said = { now = 0 }, {}
  local it_is = rivals.new({ node = "node1", now = function() return clock.now end,
    tell = function(key, message) said[#said + 1] = key .. ": " .. message end })
  return it_is, said, clock
end

describe("rivals:saw", function()
  it("names who wrote vipHost beside this node's claim", function()
    local it_is, said = new()
    it_is:saw("shop/web", service(1, "node9", "3 node1"))
    assert.equal(1, #said)
    assert.matches("^shop/web: .*vipHost says node9.*kube%-vip", said[1])
    assert.equal(1, it_is.writes)
  end)

  it("has nothing to say of what moonlb wrote, of other nodes' claims, of a Service that nobody claimed yet", function()
    local it_is, said = new()
    it_is:saw("shop/web", service(1, "node1", "3 node1"))
    it_is:saw("shop/web", service(2, "node2", "4 node2"))
    it_is:saw("shop/web", service(3, "node9", "4 node2"))
    it_is:saw("shop/web", service(4, "kube-vip-host", nil))
    it_is:saw("shop/web", service(5, nil, "4 node1"))
    it_is:saw("shop/web", { metadata = { annotations = "x" } })
    it_is:saw("shop/web", nil)
    assert.same({}, said)
  end)

  it("calls it a fight after some, each a write of its own, and no longer after a while", function()
    local it_is, said, clock = new()
    for i = 1, rivals.LIMIT do
      assert.is_false(it_is:is_fought_over("shop/web"))
      it_is:saw("shop/web", service(i, "node9", "3 node1"))
      it_is:saw("shop/web", service(i, "node9", "3 node1"))
      clock.now = clock.now + 1
    end
    assert.equal(rivals.LIMIT, #said)
    assert.is_true(it_is:is_fought_over("shop/web"))
    assert.is_false(it_is:is_fought_over("shop/other"))
    clock.now = clock.now + rivals.HALT
    assert.is_false(it_is:is_fought_over("shop/web"))
  end)

  it("forgets a Service that is gone, and writes of long ago", function()
    local it_is, _, clock = new()
    for i = 1, 2 * rivals.LIMIT do
      it_is:saw("shop/web", service(i, "node9", "3 node1"))
      clock.now = clock.now + rivals.WINDOW + 1
    end
    assert.is_false(it_is:is_fought_over("shop/web"))
    it_is:saw("shop/web", nil)
    assert.same({}, it_is.rows)
  end)
end)

describe("rivals.be_the_only_one", function()
  it("is one at a time, until the handle is closed", loop.test(function()
    local probe = require("luv").new_udp()
    probe:bind("127.0.0.1", 0)
    local port = probe:getsockname().port
    local second, message, code = rivals.be_the_only_one(port)
    assert.is_nil(second)
    assert.equal("EADDRINUSE", code)
    assert.matches("two DaemonSets", message)
    probe:close()
    require("moonlb.async").sleep(0)
    second = assert(rivals.be_the_only_one(port))
    second:close()
  end))
end)
