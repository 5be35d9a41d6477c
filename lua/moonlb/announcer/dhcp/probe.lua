--- Is an address that a server offers free? RFC 5227 probes, before the client says yes to it (RFC 2131 section 2.2).
-- @module moonlb.announcer.dhcp.probe
local vip = require("moonlb.announcer.vip")

local probe = {}

local Probe = { __name = "moonlb.announcer.dhcp.probe" }
Probe.__index = Probe

--- Begin.
-- @tparam table io  the wire: `watch`, `probe`, `after`, `random`, `is_ours`, as of moonlb.announcer.vip
-- @tparam table options  `address`, `family`, `index`, `mode` (vip.PROBE_MODES),
--   `done(is_free, mac|nil, trouble|nil)`: once
-- @treturn Probe
function probe.start(io, options)
  local self = setmetatable({ io = io, address = options.address, index = options.index, done = options.done,
    waits = vip.probe_waits(options.mode, options.family, io.random) }, Probe)
  if #self.waits == 0 then
    self:finish(true)
    return self
  end
  local ok, message = io.watch(self.address, self.index, true)
  if not ok then
    self:finish(false, nil, message)
    return self
  end
  self.is_watching = true
  self:wait(1)
  return self
end

function Probe:wait(i)
  self.timer = self.io.after(self.waits[i], function()
    if i == #self.waits then return self:finish(true) end
    local ok, message = self.io.probe(self.address, self.index)
    if not ok then return self:finish(false, nil, message) end
    self:wait(i + 1)
  end)
end

--- A foreign MAC claims the address, or asks for it at the same time (a pulse event).
function Probe:heard(event)
  if self.is_over or event.address ~= self.address or event.index ~= self.index or self.io.is_ours(event.mac) then
    return
  end
  self:finish(false, event.mac)
end

function Probe:finish(...)
  if self.is_over then return end
  local done = self.done
  self:stop(true)
  done(...)
  self:unwatch()
end

function Probe:unwatch()
  if self.is_watching then self.io.watch(self.address, self.index, false) end
  self.is_watching = false
end

--- Nobody asks any more.
-- @tparam[opt] boolean is_watched  go on hearing about the address
function Probe:stop(is_watched)
  self.is_over = true
  if self.timer then self.timer:stop() end
  if not is_watched then self:unwatch() end
end

return probe
