--- A queue of keys to reconcile: each key at most once in it, never reconciled twice at once, failures back off.
-- The semantics are those of client-go's rate limiting workqueue; one bad key never holds up another.
-- @module moonlb.kube.workqueue
local async = require("moonlb.async")
local log = require("moonlb.core.log")
local runtime = require("moonlb.core.runtime")

local workqueue = {}

local Queue = { __name = "moonlb.kube.workqueue" }
Queue.__index = Queue

--- @tparam table options
--   `reconcile(key)` runs in a task; returns true, or nil, message (or raises): then the key comes again after a pause;
--   `workers` how many at once (16), `name` for the log, `base` (0.005) and `cap` (60) seconds of the pause, `random`
--   and `now` (seconds) for tests
-- @treturn Queue
function workqueue.new(options)
  return setmetatable({
    reconcile = options.reconcile, workers = options.workers or 16, name = options.name or "queue",
    base = options.base or 0.005, cap = options.cap or 60,
    random = options.random or math.random, now = options.now or runtime.boottime,
    ready = {}, first = 1, last = 0, -- keys in order of arrival
    waiting = {}, -- key -> time at which it was added, while in `ready`
    running = {}, -- key -> true
    again = {}, -- keys added while they ran
    timers = {}, -- key -> {timer, at}
    failures = {}, -- key -> count
    active = 0, done = 0, failed = 0, latency_sum = 0,
  }, Queue)
end

--- Keys that wait to be reconciled now (not those in a pause).
function Queue:depth()
  return self.last - self.first + 1
end

local function drop_timer(self, key)
  if self.timers[key] then
    self.timers[key].timer:stop()
    self.timers[key] = nil
  end
end

-- The pause after the n-th failure in a row: doubling, up to the cap, half of it random.
local function pause_after(self, failures)
  local pause = math.min(self.cap, self.base * 2 ^ math.min(failures - 1, 30))
  return pause * (0.5 + self.random() / 2)
end

local function settle(self, key, ok, result, message)
  self.done = self.done + 1
  if ok and result then
    self.failures[key] = nil
  else
    self.failed = self.failed + 1
    self.failures[key] = (self.failures[key] or 0) + 1
    local why = ok and message or result
    local pause = pause_after(self, self.failures[key])
    log.debug("reconcile failed", { queue = self.name, key = key, error = why or "no reason", retry_in = pause })
    if not ok then log.error("reconcile raised", { queue = self.name, key = key, error = why }) end
    if not self.again[key] then self:add_after(key, pause) end
  end
  if self.again[key] then
    self.again[key] = nil
    self:add(key)
  end
end

local function work(self)
  while not self.is_stopped and self.first <= self.last do
    local key = self.ready[self.first]
    self.ready[self.first] = nil
    self.first = self.first + 1
    self.latency_sum = self.latency_sum + self.now() - self.waiting[key]
    self.waiting[key] = nil
    self.running[key] = true
    local ok, result, message = xpcall(self.reconcile, debug.traceback, key)
    self.running[key] = nil
    if not self.is_stopped then settle(self, key, ok, result, message) end
  end
  self.active = self.active - 1
end

local function start_workers(self)
  while self.active < self.workers and self.active < self:depth() do
    self.active = self.active + 1
    async.run(work, self)
  end
end

--- Reconcile the key soon; a pause that it was in ends.
-- @tparam string key
function Queue:add(key)
  if self.is_stopped then return end
  drop_timer(self, key)
  if self.running[key] then
    self.again[key] = true
  elseif not self.waiting[key] then
    self.last = self.last + 1
    self.ready[self.last] = key
    self.waiting[key] = self.now()
    if not self.starting then
      self.starting = async.timer(0, function()
        self.starting = nil
        start_workers(self)
      end)
    end
  end
end

--- Reconcile the key after some seconds, unless it is added before; the earliest time wins.
-- @tparam string key
-- @tparam number seconds
function Queue:add_after(key, seconds)
  if self.is_stopped or self.waiting[key] then return end
  local at = self.now() + seconds
  if self.timers[key] then
    if self.timers[key].at <= at then return end
    drop_timer(self, key)
  end
  self.timers[key] = { at = at, timer = async.timer(seconds, function() self:add(key) end) }
end

--- Forget the key's failures and its pause.
function Queue:forget(key)
  self.failures[key] = nil
  drop_timer(self, key)
end

--- Start nothing more. What runs runs to its end, and its result is dropped.
function Queue:stop()
  self.is_stopped = true
  if self.starting then self.starting:stop() end
  for key in pairs(self.timers) do drop_timer(self, key) end
end

--- Counts for metrics: `{depth, active, done, failed, latency_sum}`.
function Queue:stats()
  return { depth = self:depth(), active = self.active, done = self.done, failed = self.failed,
    latency_sum = self.latency_sum }
end

return workqueue
