--- Work in turns: what is due runs in order, but never longer than some milliseconds before the loop sees its sockets
-- again. Ten thousand VIPs whose timers fire together, or whose link goes down, would hold the loop otherwise.
-- @module moonlb.announcer.pace
local log = require("moonlb.core.log")

local pace = {}

local Pace = { __name = "moonlb.announcer.pace" }
Pace.__index = Pace

-- Seconds of work in a turn of the loop.
local BUDGET = 0.005
-- A timer of 0 s started by a timer runs in the same pass (libuv 1.44, uv__run_timers): before any socket is looked at.
local NEXT_TURN = 0.001

--- @tparam table options  `timer(seconds, fn)` -> handle with `stop()`; `now()` seconds
-- @treturn table  `after` and `soon` are bound: they may be called as plain functions
function pace.new(options)
  local self = setmetatable({ timer = options.timer, now = options.now, queue = {}, first = 1, last = 0,
    is_armed = false }, Pace)
  self.after = function(seconds, fn) return self:add_timer(seconds, fn) end
  self.soon = function(fn) self:push({ fn = fn }) end
  return self
end

function Pace:arm(seconds)
  self.is_armed = true
  self.timer(seconds, function() self:run() end)
end

function Pace:push(item)
  self.last = self.last + 1
  self.queue[self.last] = item
  if not self.is_armed then self:arm(0) end
end

--- How many wait for their turn.
function Pace:backlog()
  return self.last - self.first + 1
end

-- Until nothing is left or the turn is over. An error ends its own item alone.
function Pace:run()
  local till = self.now() + BUDGET
  while self.first <= self.last do
    local item = self.queue[self.first]
    self.queue[self.first] = nil
    self.first = self.first + 1
    if not item.is_stopped then
      local ok, err = xpcall(item.fn, debug.traceback)
      if not ok then log.error("a step of the announcer failed", { error = err }) end
    end
    if self.now() >= till and self.first <= self.last then return self:arm(NEXT_TURN) end
  end
  self.queue, self.first, self.last, self.is_armed = {}, 1, 0, false
end

-- Run `fn` once it is due and its turn has come; `stop()` of what is returned prevents that, also between the two.
function Pace:add_timer(seconds, fn)
  local item = { fn = fn }
  local timer = self.timer(seconds, function() self:push(item) end)
  function item.stop()
    item.is_stopped = true
    timer:stop()
  end
  return item
end

return pace
