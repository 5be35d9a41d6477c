local collector = require("moonlb.announcer.collector")
local wire = require("spec.support.wire")

describe("announcer.collector", function()
  local clock, said, kib, is_busy, subject

  before_each(function()
    clock, said, kib, is_busy = wire.new(), {}, 1000, true
    subject = collector.new({ timer = clock.after, now = clock.now, is_busy = function() return is_busy end,
      collect = function(what)
        if what == "count" then return kib end
        said[#said + 1] = what
      end })
  end)

  it("comes back as soon as nobody waits", function()
    subject:postpone()
    subject:postpone()
    clock:advance(0.1)
    assert.same({ "stop" }, said)
    is_busy = false
    clock:advance(0.011)
    assert.same({ "stop", "restart" }, said)
  end)

  it("comes back when memory has grown by its share, and after the longest time", function()
    subject:postpone()
    kib = kib + collector.GROWTH
    clock:advance(0.011)
    assert.same({ "stop", "restart" }, said)
    clock:advance(collector.REST)
    subject:postpone()
    clock:advance(collector.LONGEST + 0.011)
    assert.same({ "stop", "restart", "stop", "restart" }, said)
  end)

  it("is not postponed again and again", function()
    subject:postpone()
    clock:advance(collector.LONGEST + 0.011)
    subject:postpone()
    clock:advance(1)
    assert.same({ "stop", "restart" }, said)
  end)
end)
