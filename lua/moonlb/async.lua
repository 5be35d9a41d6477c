--- Coroutines over the event loop: code that waits reads like code that does not.
--
-- Everything that may wait runs inside a task. `await` suspends the task until its `resume` is called from a callback;
-- an error in a task is logged with the trace of its own coroutine, and nothing else stops.
-- @module moonlb.async
local uv = require("luv")
local log = require("moonlb.core.log")

local async = {}

local Task = { __name = "moonlb.async.task" }
Task.__index = Task

local tasks = setmetatable({}, { __mode = "k" }) -- coroutine -> task

--- How many tasks ended with an error since start.
async.failures = 0

local function finish(task, ok, ...)
  if coroutine.status(task.thread) ~= "dead" then return end
  task.is_done = true
  if not ok then
    async.failures = async.failures + 1
    local message = ...
    log.error("task failed", { task = task.name, error = debug.traceback(task.thread, tostring(message)) })
  end
  for _, waiting in ipairs(task.joiners) do waiting() end
end

local function continue(task, ...)
  finish(task, coroutine.resume(task.thread, ...))
end

--- Start a task now; it runs until it first waits.
-- @tparam function fn
-- @param ...  its arguments
-- @treturn Task  `is_done`, `cancel()`, `join()`
function async.run(fn, ...)
  local task = setmetatable({ thread = coroutine.create(fn), joiners = {}, name = "task" }, Task)
  tasks[task.thread] = task
  continue(task, ...)
  return task
end

--- The running task, or nil outside of one.
-- @treturn Task
function async.running()
  return tasks[(coroutine.running())]
end

--- Suspend the running task until `resume` is called; what it is called with is returned.
-- `resume` works once and may be called before `start` returns. A cancelled task gets `nil, "cancelled", "ECANCELED"`,
-- at once and from each later await.
-- @tparam function start  `start(resume)`; may return a function that stops what it started, called on cancel
-- @return what `resume` got
function async.await(start)
  local task = assert(async.running(), "await: not inside a task")
  if task.is_cancelled then return nil, "cancelled", "ECANCELED" end
  local is_resumed, is_waiting, early = false, false, nil
  local function resume(...)
    if is_resumed then return end
    is_resumed = true
    task.wake, task.stop_waiting = nil, nil
    if is_waiting then
      continue(task, ...)
    else
      early = table.pack(...)
    end
  end
  task.wake = resume
  task.stop_waiting = start(resume)
  if early then return table.unpack(early, 1, early.n) end
  is_waiting = true
  return coroutine.yield()
end

--- Make the task's pending await, and all later ones, return `nil, "cancelled", "ECANCELED"`.
function Task:cancel()
  if self.is_done or self.is_cancelled then return end
  self.is_cancelled = true
  local wake, stop = self.wake, self.stop_waiting
  if type(stop) == "function" then stop() end
  if wake then wake(nil, "cancelled", "ECANCELED") end
end

--- Wait, inside another task, until this one has ended.
function Task:join()
  if self.is_done then return end
  async.await(function(resume) self.joiners[#self.joiners + 1] = resume end)
end

local Timer = { __name = "moonlb.async.timer" }
Timer.__index = Timer

-- In the next turn of the loop. Not by a timer of 0 ms: libuv 1.44 runs one that a timer starts within the same pass,
-- and a chain of them would keep the loop from ever looking at its sockets.
local function next_turn(fn)
  local handle = uv.new_idle()
  handle:start(fn)
  return handle
end

--- Call a function later, once.
-- @tparam number seconds  0: in the next turn of the loop
-- @tparam function fn
-- @treturn Timer  with `stop()`, idempotent
function async.timer(seconds, fn)
  local timer = setmetatable({}, Timer)
  local function fire()
    timer:stop()
    fn()
  end
  if seconds <= 0 then
    timer.handle = next_turn(fire)
  else
    timer.handle = uv.new_timer()
    timer.handle:start(math.ceil(seconds * 1000), 0, fire)
  end
  return timer
end

--- Stop the timer; its function is not called any more.
function Timer:stop()
  if self.handle then
    self.handle:close()
    self.handle = nil
  end
end

--- Suspend the running task.
-- @tparam number seconds
-- @treturn boolean  true; nil, message, `"ECANCELED"` when the task was cancelled
function async.sleep(seconds)
  return async.await(function(resume)
    local timer = async.timer(seconds, function() resume(true) end)
    return function() timer:stop() end
  end)
end

--- Call a method that takes a callback `(err, value)` last, and wait for it.
-- @param handle
-- @tparam string method
-- @param ...  arguments before the callback
-- @return value; or nil, message, code
function async.call(handle, method, ...)
  local arguments = table.pack(...)
  local err, value, code = async.await(function(resume)
    arguments[arguments.n + 1] = resume
    local pending = handle[method](handle, table.unpack(arguments, 1, arguments.n + 1))
    return function()
      if pending and pending.cancel then pending:cancel() end
    end
  end)
  if code == "ECANCELED" then return nil, value, code end
  if err then return nil, err.message, err.code end
  return value
end

--- A condition that tasks wait for: `notify()` wakes all that wait.
-- @treturn table  with `wait([seconds])` -> true | nil, message, code (`"ETIMEDOUT"`), and `notify()`
function async.signal()
  local waiting = {}
  local signal = {}

  function signal.wait(_, seconds)
    return async.await(function(resume)
      local timer = seconds and async.timer(seconds, function()
        waiting[resume] = nil
        resume(nil, "timed out", "ETIMEDOUT")
      end)
      waiting[resume] = timer or true
      return function()
        waiting[resume] = nil
        if timer then timer:stop() end
      end
    end)
  end

  function signal.notify(_)
    local woken = waiting
    waiting = {}
    for resume, timer in pairs(woken) do
      if timer ~= true then timer:stop() end
      resume(true)
    end
  end

  return signal
end

return async
