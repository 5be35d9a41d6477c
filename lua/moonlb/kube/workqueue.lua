--- A queue of keys to reconcile: each key at most once in it, never reconciled twice at once, failures back off.
-- The semantics are those of client-go's rate limiting workqueue; one bad key never holds up another.
-- @module moonlb.kube.workqueue
local async = require("moonlb.async")
local histogram = require("moonlb.histogram")
local log = require("moonlb.core.log")
local runtime = require("moonlb.core.runtime")

local workqueue = {}

local Queue = { __name = "moonlb.kube.workqueue" }
Queue.__index = Queue

-- A worker gives the loop a turn after so many seconds of keys that did not wait.
local TURN = 0.005

--- An empty queue.
-- @tparam table options
--   `reconcile(key)` runs in a task; returns true, or nil, message (or raises): then the key comes again after a pause;
--   `workers` how many at once (16), `name` for the log, `base` (0.005) and `cap` (60) seconds of the pause, `random`
--   in [0, 1) and `clock` (seconds) for tests
-- @treturn Queue
function workqueue.new(options)
  return setmetatable({
    reconcile = assert(options.reconcile), workers = options.workers or 16, name = options.name or "queue",
    base = options.base or 0.005, cap = options.cap or 60,
    random = options.random or math.random, clock = options.clock or runtime.boottime,
    lanes = { { first = 1, last = 0 }, { first = 1, last = 0 } }, -- keys in order of arrival; urgent ones, the others
    waiting = {}, -- key -> time at which it was added, while in a lane
    running = {}, -- key -> true
    again = {}, -- keys added while they ran -> whether urgent
    timers = {}, -- key -> {timer, at}
    failures = {}, -- key -> count
    active = 0, done = 0, failed = 0, waits = histogram.new(),
  }, Queue)
end

local function length(lane) return lane.last - lane.first + 1 end

--- Keys that wait to be reconciled now (not those in a pause).
-- @treturn number
function Queue:depth()
  return length(self.lanes[1]) + length(self.lanes[2])
end

local function push(lane, key)
  lane.last = lane.last + 1
  lane[lane.last] = key
end

local function pop(self)
  local lane = length(self.lanes[1]) > 0 and self.lanes[1] or self.lanes[2]
  local key = lane[lane.first]
  lane[lane.first] = nil
  lane.first = lane.first + 1
  return key
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

-- What became of a key: a failed one comes again after its pause, unless it was added meanwhile.
local function settle(self, key, ok, result, message)
  self.done = self.done + 1
  if ok and result then
    self.failures[key] = nil
  else
    self.failed = self.failed + 1
    self.failures[key] = (self.failures[key] or 0) + 1
    local pause = pause_after(self, self.failures[key])
    log[ok and "debug" or "error"](ok and "reconcile failed" or "reconcile raised", { queue = self.name, key = key,
      error = ok and message or result, retry_in = ("%.3f"):format(pause) })
    if self.again[key] == nil then self:add_after(key, pause) end
  end
  if self.again[key] ~= nil then
    local is_urgent = self.again[key]
    self.again[key] = nil
    self:add(key, is_urgent)
  end
end

local function run_next(self)
  local key = pop(self)
  self.waits:observe(self.clock() - self.waiting[key])
  self.waiting[key] = nil
  self.running[key] = true
  local ok, result, message = xpcall(self.reconcile, debug.traceback, key)
  self.running[key] = nil
  if not self.is_stopped then settle(self, key, ok, result, message) end
end

local function work(self)
  local began = self.clock()
  while not self.is_stopped and self:depth() > 0 do
    run_next(self)
    if self.clock() - began > TURN then
      async.sleep(0)
      began = self.clock()
    end
  end
  self.active = self.active - 1
end

-- Workers end when nothing waits, so each that lives is busy: every waiting key may have one of its own.
local function start_workers(self)
  local wanted = math.min(self.workers - self.active, self:depth())
  for _ = 1, wanted do
    if self:depth() == 0 then return end
    self.active = self.active + 1
    async.run(work, self)
  end
end

--- Reconcile the key soon; a pause that it was in ends.
-- @tparam string key
-- @tparam[opt] boolean is_urgent  before all that are not; a key that waits already keeps its place
function Queue:add(key, is_urgent)
  if self.is_stopped then return end
  drop_timer(self, key)
  if self.running[key] then
    self.again[key] = is_urgent or self.again[key] or false
  elseif not self.waiting[key] then
    push(self.lanes[is_urgent and 1 or 2], key)
    self.waiting[key] = self.clock()
    -- In a turn of its own: what one event of the loop brings is in the lanes before the first key is taken.
    self.starting = self.starting or async.timer(0, function()
      self.starting = nil
      start_workers(self)
    end)
  end
end

--- Reconcile the key after some seconds, unless it is added before; the earliest time wins.
-- @tparam string key
-- @tparam number seconds
function Queue:add_after(key, seconds)
  if self.is_stopped or self.waiting[key] then return end
  local at = self.clock() + seconds
  if self.timers[key] then
    if self.timers[key].at <= at then return end
    drop_timer(self, key)
  end
  self.timers[key] = { at = at, timer = async.timer(seconds, function()
    self.timers[key] = nil
    self:add(key)
  end) }
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

--- Counts for metrics.
-- @treturn table  `{depth, active, done, failed, waits}`; the last is a moonlb.histogram of seconds
function Queue:stats()
  return { depth = self:depth(), active = self.active, done = self.done, failed = self.failed,
    waits = self.waits }
end

return workqueue
