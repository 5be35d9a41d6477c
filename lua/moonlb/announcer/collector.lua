--- The garbage collector is a third of the work of a takeover, and neighbours wait for the other two: with many groups
-- to take it comes afterwards. Bounded: by memory, by time, and once in a while.
-- @module moonlb.announcer.collector
local collector = {}

local Collector = { __name = "moonlb.announcer.collector" }
Collector.__index = Collector

--- What may pile up meanwhile, in KiB: 1,000 VIPs make some 8,500.
collector.GROWTH = 12 * 1024
--- Seconds: the longest postponement, and the shortest time between two.
collector.LONGEST, collector.REST = 0.5, 5

-- Seconds between two looks.
local LOOK = 0.01

--- @tparam table options  `timer(seconds, fn)`, `now()` seconds, `is_busy()`: do neighbours wait?,
--   `collect(what)` (collectgarbage, or a test's)
-- @treturn Collector
function collector.new(options)
  return setmetatable({ timer = options.timer, now = options.now, is_busy = options.is_busy,
    collect = options.collect or collectgarbage }, Collector)
end

function Collector:look()
  local grown = self.collect("count") - self.base
  if self.is_busy() and grown < collector.GROWTH and self.now() - self.since < collector.LONGEST then
    self.timer(LOOK, function() self:look() end)
  else
    self.is_postponed = false
    self.collect("restart")
  end
end

--- Postpone it, unless it is, or was a moment ago.
function Collector:postpone()
  if self.is_postponed or self.since and self.now() - self.since < collector.REST then return end
  self.is_postponed, self.since, self.base = true, self.now(), self.collect("count")
  self.collect("stop")
  self.timer(LOOK, function() self:look() end)
end

return collector
