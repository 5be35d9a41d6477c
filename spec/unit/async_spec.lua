local async = require("moonlb.async")
local loop = require("spec.support.loop")
local uv = require("luv")

describe("async.await", function()
  it("returns what resume got, also when it was called at once", loop.test(function()
    assert.same({ 1, nil, 3 }, { async.await(function(resume) resume(1, nil, 3) end) })
  end))

  it("works once", loop.test(function()
    local count = 0
    async.await(function(resume)
      local timer = uv.new_timer()
      timer:start(1, 1, function()
        count = count + 1
        resume(count)
        if count == 3 then timer:close() end
      end)
    end)
    loop.until_true(function() return count == 3 end, 5, "the timer ran thrice")
  end))

  it("raises outside a task", function()
    assert.error_matches(function() async.await(function() end) end, "not inside a task")
  end)
end)

describe("Task.cancel", function()
  it("ends the pending await and stops what it waited for", loop.test(function()
    local stopped, result = false, nil
    local task = async.run(function()
      result = { async.await(function() return function() stopped = true end end) }
    end)
    task:cancel()
    assert.is_true(stopped)
    assert.is_true(task.is_done)
    assert.same({ nil, "cancelled", "ECANCELED" }, result)
  end))

  it("ends a sleep, and every later one", loop.test(function()
    local codes = {}
    local task = async.run(function()
      codes[1] = select(3, async.sleep(60))
      codes[2] = select(3, async.sleep(60))
    end)
    task:cancel()
    task:join()
    assert.same({ "ECANCELED", "ECANCELED" }, codes)
  end))
end)

describe("async.run", function()
  it("logs an error with the trace of the task, and others go on", loop.test(function()
    local before = async.failures
    local other = false
    async.run(function() error("expected by this spec") end)
    async.run(function() other = true end)
    assert.equal(before + 1, async.failures)
    assert.is_true(other)
  end))
end)

describe("async.call", function()
  local handle = {}
  function handle.answer(_, what, callback) callback(nil, what) end
  function handle.fail(_, callback) callback({ message = "no such thing", code = "ENOENT" }) end

  it("turns a callback's value into a result", loop.test(function()
    assert.equal("x", async.call(handle, "answer", "x"))
  end))

  it("turns a callback's error into the triple", loop.test(function()
    assert.same({ nil, "no such thing", "ENOENT" }, { async.call(handle, "fail") })
  end))
end)

describe("async.signal", function()
  it("wakes all that wait", loop.test(function()
    local signal, woken = async.signal(), 0
    for _ = 1, 3 do
      async.run(function() if signal:wait(5) then woken = woken + 1 end end)
    end
    signal:notify()
    assert.equal(3, woken)
  end))

  it("says when time is up", loop.test(function()
    assert.equal("ETIMEDOUT", select(3, async.signal():wait(0.001)))
  end))
end)

describe("async.sleep", function()
  it("of 0 s lets the loop look at its sockets and timers in between", loop.test(function()
    local is_over, turns = false, 0
    async.timer(0.02, function() is_over = true end)
    local pipe = uv.new_pipe(false)
    local client = uv.new_pipe(false)
    local heard
    local ends = uv.socketpair("stream", 0, { nonblock = true }, { nonblock = true })
    pipe:open(ends[1])
    client:open(ends[2])
    pipe:read_start(function(_, chunk) heard = chunk end)
    async.timer(0, function() client:write("x") end)
    while not is_over and turns < 1000000 do
      turns = turns + 1
      async.sleep(0)
    end
    pipe:close()
    client:close()
    assert.is_true(is_over)
    assert.equal("x", heard)
  end))
end)
