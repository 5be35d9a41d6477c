--- A wire and a clock that a test plays: the `io` of moonlb.announcer.vip, everything recorded in `sent`.
local wire = {}

local Wire = {}
Wire.__index = Wire

--- @treturn table  with `sent` (array of "verb address"), `time`, `advance(seconds)`, `fail[verb] = {message, code}`
function wire.new()
  local self = setmetatable({ sent = {}, time = 100, timers = {}, fail = {}, ours = {}, random_value = 0.5 }, Wire)
  for _, verb in ipairs({ "watch", "probe", "silence", "drop", "announce" }) do
    self[verb] = function(address, index, on)
      return self:record(verb, address, index, on)
    end
  end
  function self.now() return self.time end
  function self.random() return self.random_value end
  function self.is_ours(mac) return self.ours[mac] or false end
  function self.after(seconds, fn) return self:add_timer(seconds, fn) end
  function self.take(address, index, done)
    local ok, message, code = self:record("take", address, index)
    self.after(0, function() done(ok, message, code) end)
  end
  return self
end

function Wire:record(verb, address, index, on)
  local failure = self.fail[verb]
  if failure then return nil, failure[1], failure[2] end
  if verb == "watch" then verb = on and "watch" or "unwatch" end
  self.sent[#self.sent + 1] = { time = self.time - 100, verb = verb, address = address, index = index }
  return true
end

function Wire:add_timer(seconds, fn)
  local timer = { at = self.time + seconds, fn = fn, order = #self.timers + 1 }
  function timer.stop() timer.is_stopped = true end
  self.timers[#self.timers + 1] = timer
  return timer
end

local function next_due(timers, till)
  local due
  for _, timer in ipairs(timers) do
    if not timer.is_stopped and timer.at <= till and (not due or timer.at < due.at) then due = timer end
  end
  return due
end

--- Let time pass; timers run in order.
function Wire:advance(seconds)
  local till = self.time + seconds
  while true do
    local due = next_due(self.timers, till + 1e-9)
    if not due then break end
    due.is_stopped = true
    self.time = math.max(self.time, due.at)
    due.fn()
  end
  self.time = till
end

--- The verbs sent since the last call, "verb@milliseconds" joined by spaces.
function Wire:take_log()
  local words = {}
  for i, entry in ipairs(self.sent) do words[i] = ("%s@%d"):format(entry.verb, math.floor(entry.time * 1000 + 0.5)) end
  self.sent = {}
  return table.concat(words, " ")
end

return wire
