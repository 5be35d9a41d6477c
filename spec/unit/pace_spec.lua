local pace = require("moonlb.announcer.pace")
local played = require("spec.support.wire")

describe("announcer.pace", function()
  local clock, paced, ran
  before_each(function()
    clock, ran = played.new(), {}
    paced = pace.new({ timer = clock.after, now = clock.now })
  end)

  -- Work that takes `seconds` and notes when it began, in ms.
  local function work(name, seconds)
    return function()
      ran[#ran + 1] = ("%s@%d"):format(name, math.floor((clock.time - 100) * 1000 + 0.5))
      clock.time = clock.time + (seconds or 0)
    end
  end

  it("runs what is due in order", function()
    paced.soon(work("a"))
    paced.after(0.2, work("c"))
    paced.after(0.1, work("b"))
    clock:advance(1)
    assert.equal("a@0 b@100 c@200", table.concat(ran, " "))
  end)

  it("lets the loop have its turn after 5 ms of work", function()
    for _, name in ipairs({ "a", "b", "c" }) do paced.soon(work(name, 0.003)) end
    clock:advance(1)
    assert.equal("a@0 b@3 c@7", table.concat(ran, " "))
  end)

  it("does not run what was stopped, also when it was due already", function()
    local handle
    paced.soon(function() handle.stop() end)
    handle = paced.after(0, work("a"))
    paced.after(0.1, work("b")).stop()
    clock:advance(1)
    assert.equal("", table.concat(ran, " "))
  end)

  it("goes on after an error", function()
    require("moonlb.core.log").configure({ level = "error" })
    paced.soon(function() error("on purpose") end)
    paced.soon(work("a"))
    clock:advance(1)
    paced.soon(work("b"))
    clock:advance(1)
    assert.equal("a@0 b@1000", table.concat(ran, " "))
  end)
end)
