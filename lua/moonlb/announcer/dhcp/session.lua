--- One DHCP client on one interface: moonlb.core.dhcp decides, this carries out: socket, timer, and who is told.
-- @module moonlb.announcer.dhcp.session
local log = require("moonlb.core.log")

local session = {}

local Session = { __name = "moonlb.announcer.dhcp.session" }
Session.__index = Session

--- A client that has not begun.
-- @tparam table io  `now()` seconds of CLOCK_BOOTTIME, `after(seconds, fn)` -> timer with `stop()`,
--   `open(index, on_frame)` -> socket | nil, message, code (moonlb.core.packet.dhcp_socket),
--   `client(options)` (moonlb.core.dhcp.client)
-- @tparam table options  `index` (of the interface), `client` (options of the client), `service` (for the log),
--   `check(address, done)`: find out whether it is free, then `done(is_free)`;
--   `on_bound(lease, is_new, is_changed)`, `on_lost(address, reason, message)`, `on_note(message)`
-- @treturn Session  or nil, message, code: there is no socket
function session.open(io, options)
  local self = setmetatable({ io = io, options = options, client = io.client(options.client), queue = {} }, Session)
  local message, code
  self.socket, message, code = io.open(options.index, function(frame) self:step("receive", frame) end)
  if not self.socket then return nil, message, code end
  return self
end

local handlers = {}

-- One that does not go out (link down) is sent again by the client's own timer.
function handlers.send(self, action)
  local ok, message, code = self.socket:send(action.frame)
  if not ok then
    log.debug("a DHCP message was not sent", { service = self.options.service, error = message, code = code })
  end
end

function handlers.check(self, action)
  self.options.check(action.address, function(is_free)
    if not self.is_closed then self:step("checked", is_free) end
  end)
end

function handlers.bound(self, action) self.options.on_bound(action.lease, action.is_new, action.is_changed) end

function handlers.lost(self, action) self.options.on_lost(action.address, action.reason, action.message) end

function handlers.note(self, action) self.options.on_note(action.message) end

-- Timers of libuv may be early by a tick of its clock.
local function arm(self)
  if self.timer then self.timer:stop() end
  self.timer = nil
  local deadline = self.client:deadline()
  if not deadline or self.is_closed then return end
  self.timer = self.io.after(math.max(0, deadline - self.io.now()), function() self:step("tick") end)
end

--- Tell the client something and do what it wants, in order; what it wants on being told meanwhile comes after.
-- @tparam string method  of the client: start, receive, tick, checked, link_up, release
function Session:step(method, ...)
  if self.is_closed then return end
  local actions = self.client[method](self.client, self.io.now(), ...)
  table.move(actions, 1, #actions, #self.queue + 1, self.queue)
  if self.is_busy then return end
  self.is_busy = true
  while self.queue[1] and not self.is_closed do
    local action = table.remove(self.queue, 1)
    handlers[action.type](self, action)
  end
  self.is_busy = false
  if not self.is_closed then arm(self) end
end

--- The time may have come: after the node slept.
function Session:look() self:step("tick") end

--- Give the lease back, and end.
function Session:release(reason)
  self:step("release", reason)
  self:close()
end

--- End without a word to the server: the lease goes on, here or elsewhere.
function Session:close()
  if self.is_closed then return end
  self.is_closed = true
  if self.timer then self.timer:stop() end
  self.socket:close()
end

return session
