local async = require("moonlb.async")
local loop = require("spec.support.loop")
local workqueue = require("moonlb.kube.workqueue")

local function idle(queue)
  loop.until_true(function() return queue:depth() == 0 and queue:stats().active == 0 end, 5, "the queue is empty")
end

describe("workqueue.add", function()
  it("reconciles a key that was added several times once", loop.test(function()
    local seen = {}
    local queue = workqueue.new({ reconcile = function(key)
      seen[#seen + 1] = key
      return true
    end })
    queue:add("a")
    queue:add("b")
    queue:add("a")
    idle(queue)
    assert.same({ "a", "b" }, seen)
    queue:stop()
  end))

  it("reconciles a key that was added while it ran once more, and never twice at once", loop.test(function()
    local count, at_once, most = 0, 0, 0
    local queue
    queue = workqueue.new({ reconcile = function(key)
      count, at_once = count + 1, at_once + 1
      most = math.max(most, at_once)
      if count == 1 then
        queue:add(key)
        queue:add(key)
        async.sleep(0.01)
      end
      at_once = at_once - 1
      return true
    end })
    queue:add("a")
    loop.until_true(function() return count == 2 end, 5, "the second run")
    idle(queue)
    assert.equal(2, count)
    assert.equal(1, most)
    queue:stop()
  end))

  it("takes urgent keys first", loop.test(function()
    local seen = {}
    local queue = workqueue.new({ workers = 1, reconcile = function(key)
      seen[#seen + 1] = key
      return true
    end })
    queue:add("b")
    queue:add("a")
    queue:add("z", true)
    idle(queue)
    assert.same({ "z", "b", "a" }, seen)
    queue:stop()
  end))

  it("is not held up by keys that wait, up to the number of workers", loop.test(function()
    local gate, running, most = async.signal(), 0, 0
    local queue = workqueue.new({ workers = 3, reconcile = function()
      running = running + 1
      most = math.max(most, running)
      gate:wait()
      running = running - 1
      return true
    end })
    queue:add("a")
    loop.until_true(function() return running == 1 end)
    for _, key in ipairs({ "b", "c", "d", "e" }) do queue:add(key) end
    loop.until_true(function() return running == 3 end, 5, "three at once")
    assert.equal(2, queue:depth())
    loop.until_true(function()
      gate:notify()
      return running == 0 and queue:depth() == 0
    end)
    assert.equal(3, most)
    queue:stop()
  end))

  it("gives the loop a turn between keys that do not wait", loop.test(function()
    local now, done, turns = 0, 0, 0
    local queue = workqueue.new({ workers = 1, clock = function() return now end, reconcile = function()
      now = now + 0.002
      done = done + 1
      return true
    end })
    for i = 1, 30 do queue:add("k" .. i) end
    while done < 30 do
      turns = turns + 1
      async.sleep(0)
    end
    assert.is_true(turns > 5)
    queue:stop()
  end))
end)

describe("workqueue back-off", function()
  local function failing(times, options)
    local attempts = 0
    options.reconcile = function()
      attempts = attempts + 1
      if attempts <= times then return nil, "not yet" end
      return true
    end
    local queue = workqueue.new(options)
    local pauses = {}
    local add_after = queue.add_after
    queue.add_after = function(self, key, seconds)
      pauses[#pauses + 1] = seconds
      add_after(self, key, 0)
    end
    queue:add("a")
    loop.until_true(function() return attempts == times + 1 end)
    idle(queue)
    queue:stop()
    return pauses, queue
  end

  it("doubles from 5 ms to the cap", loop.test(function()
    local pauses = failing(5, { cap = 0.03, random = function() return 1 end })
    assert.same({ 0.005, 0.01, 0.02, 0.03, 0.03 }, pauses)
  end))

  it("makes up to half of the pause random", loop.test(function()
    assert.same({ 0.0025 }, (failing(1, { random = function() return 0 end })))
  end))

  it("begins anew after a success", loop.test(function()
    local _, queue = failing(3, {})
    assert.same({}, queue.failures)
  end))

  it("treats an error as a failure, and goes on with others", loop.test(function()
    local raised, other = 0, false
    local queue = workqueue.new({ reconcile = function(key)
      if key == "bad" then
        raised = raised + 1
        error("expected by this spec")
      end
      other = true
      return true
    end })
    queue:add("bad")
    queue:add("good")
    loop.until_true(function() return raised > 1 and other end)
    queue:stop()
  end))

  it("ends when the key is added", loop.test(function()
    local attempts = 0
    local queue = workqueue.new({ base = 60, reconcile = function()
      attempts = attempts + 1
      return attempts > 1 or nil, "not yet"
    end })
    queue:add("a")
    loop.until_true(function() return attempts == 1 and queue.timers.a end)
    queue:add("a")
    loop.until_true(function() return attempts == 2 end)
    queue:stop()
  end))
end)

describe("workqueue.add_after", function()
  it("keeps the earliest time", loop.test(function()
    local count = 0
    local queue = workqueue.new({ reconcile = function()
      count = count + 1
      return true
    end })
    queue:add_after("a", 60)
    queue:add_after("a", 0.001)
    queue:add_after("a", 60)
    loop.until_true(function() return count == 1 end)
    assert.is_nil(next(queue.timers))
    queue:stop()
  end))
end)

describe("workqueue.stop", function()
  it("starts nothing more", loop.test(function()
    local count = 0
    local queue = workqueue.new({ reconcile = function()
      count = count + 1
      return true
    end })
    queue:add("a")
    queue:add_after("b", 0)
    queue:stop()
    queue:add("c")
    async.sleep(0.02)
    assert.equal(0, count)
  end))
end)
