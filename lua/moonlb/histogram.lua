--- How often something took how long: counts in buckets, for metrics.
-- @module moonlb.histogram
local histogram = {}

local Histogram = { __name = "moonlb.histogram" }
Histogram.__index = Histogram

--- Bounds in seconds that tell a fast machine from a slow one and a decision from a wait.
histogram.SECONDS = { 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 0.02, 0.1, 0.5, 2, 10 }

--- @tparam[opt] table bounds  ascending upper bounds, each inclusive
-- @treturn Histogram  to read: `bounds`, `counts` (of each bucket alone, one more than bounds), `count`, `sum`
function histogram.new(bounds)
  local self = setmetatable({ bounds = bounds or histogram.SECONDS, counts = {}, count = 0, sum = 0 }, Histogram)
  for i = 1, #self.bounds + 1 do self.counts[i] = 0 end
  return self
end

--- Count a value.
function Histogram:observe(value)
  local bucket = 1
  while self.bounds[bucket] and value > self.bounds[bucket] do bucket = bucket + 1 end
  self.counts[bucket] = self.counts[bucket] + 1
  self.count, self.sum = self.count + 1, self.sum + value
end

return histogram
