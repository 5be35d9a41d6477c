--- Ports on a router by PCP (RFC 6887), or by NAT-PMP (RFC 6886) where the router speaks no more than that. A session
-- belongs to one address of this node and one router; it repeats what is not answered, tells answers apart, and notices
-- that the router lost its state. The wire and the clock come in as arguments; `port_control.open` brings real ones.
-- @module moonlb.announcer.port_control
local log = require("moonlb.core.log")
local pcp = require("moonlb.core.pcp")

local port_control = {}

local Session = { __name = "moonlb.announcer.port_control" }
Session.__index = Session

local PCP, NATPMP = 2, 0
-- RFC 6887 section 8.1.1: IRT and MRT; RFC 6886 section 3.1: 250 ms, doubled nine times.
local FIRST_WAIT = { [PCP] = 3, [NATPMP] = 0.25 }
local LONGEST_WAIT = { [PCP] = 1024, [NATPMP] = 64 }
local UNSUPPORTED_VERSION = 1
-- RFC 6887 section 15: a client treats lifetimes of more than a day as a day (it suggests 24 hours as the most).
local LONGEST_LIFETIME = 86400

--- Did the server keep its state between two answers (RFC 6887 section 8.5)? Its clock and ours may drift by 1/16.
-- @tparam table before  `{epoch=, at=}`: the server's seconds, and ours when that was heard
-- @tparam table after  the same of a later answer
-- @treturn boolean
function port_control.is_same_epoch(before, after)
  if after.epoch + 1 < before.epoch then return false end
  local client, server = after.at - before.at, after.epoch - before.epoch
  return client + 2 >= server - server / 16 and server + 2 >= client - client / 16
end

--- A session that has asked nothing yet.
-- @tparam table options  `client`: the address that requests leave from; `send(bytes)`; `after(seconds, fn)` -> timer
--   with `stop()`; `now()` seconds; `random()` in [0, 1); `on_restart()`: every mapping is to be made anew;
--   `version`: 0 for NAT-PMP alone
-- @treturn Session
function port_control.new(options)
  return setmetatable({ client = assert(options.client), send = options.send, after = options.after,
    now = options.now, random = options.random, on_restart = options.on_restart or function() end,
    version = options.version or PCP, pending = {} }, Session)
end

local function bytes_of(self, request)
  if request.type == "address" then return pcp.encode_address() end
  local map = request.map
  return pcp.encode_map({ version = self.version, client = self.client, nonce = map.nonce, protocol = map.protocol,
    internal_port = map.internal_port, external_port = map.external_port, lifetime = map.lifetime,
    external_address = self.version == PCP and map.external_address or nil })
end

-- RFC 6887 section 8.1.1: RT = (1 + RAND) * 2 * RTprev, RAND within a tenth.
local function next_wait(self, wait)
  local most = LONGEST_WAIT[self.version]
  local doubled = wait and math.min(2 * wait, most) or FIRST_WAIT[self.version]
  return doubled * (0.9 + 0.2 * self.random())
end

local function finish(self, request, err, answer)
  if request.timer then request.timer:stop() end
  if request.deadline then request.deadline:stop() end
  for i, other in ipairs(self.pending) do
    if other == request then table.remove(self.pending, i) end
  end
  request.done(err, answer)
end

local function transmit(self, request)
  local ok, message, code = self.send(bytes_of(self, request))
  if not ok then return finish(self, request, { message = message, code = code }) end
  request.wait = next_wait(self, request.wait)
  request.timer = self.after(request.wait, function() transmit(self, request) end)
end

local function begin(self, request, patience)
  self.pending[#self.pending + 1] = request
  request.deadline = self.after(patience, function()
    finish(self, request, { message = ("the router did not answer %s within %g s"):format(
      self.version == PCP and "PCP" or "NAT-PMP", patience), code = "ETIMEDOUT" })
  end)
  transmit(self, request)
end

--- Ask for a mapping, renew it (the same nonce and ports), or delete it (`lifetime` 0).
-- @tparam table map  `protocol` ("tcp" or "udp"), `internal_port`, `external_port` (a wish), `external_address` (a
--   wish, may be nil), `nonce` (12 bytes: PCP gives the mapping to who knows it), `lifetime` in seconds
-- @tparam number patience  seconds to wait for an answer
-- @tparam function done  `done(err, answer)`: `answer` is `{protocol=, internal_port=, external_port=,
--   external_address=, lifetime=, version=}`; `err` is `{message=, code=, result=}`, code `"ETIMEDOUT"`,
--   `"ECONNREFUSED"` (nobody listens), `"ECANCELED"` (the session was closed) or `"EREFUSED"` with the router's result
function Session:map(map, patience, done)
  begin(self, { type = "map", map = map, done = done }, patience)
end

--- Ask for the router's outside address; a session that speaks PCP learns it from a mapping, so this is NAT-PMP's.
-- @tparam number patience  seconds
-- @tparam function done  `done(err, answer)` with `answer.external_address`
function Session:ask_address(patience, done)
  begin(self, { type = "address", done = done }, patience)
end

local function is_answer_to(request, answer)
  if answer.type ~= request.type then return false end
  if answer.type == "address" then return true end
  local map = request.map
  return answer.protocol == map.protocol and answer.internal_port == map.internal_port
    and (answer.version == NATPMP or answer.nonce == map.nonce)
end

-- An answer without the operation's part (an error) names no request: it is the oldest one's.
local function find(self, answer)
  if answer.type == "other" then return self.pending[1] end
  for _, request in ipairs(self.pending) do
    if is_answer_to(request, answer) then return request end
  end
  return nil
end

-- RFC 6887 appendix A: a router that speaks NAT-PMP alone answers with version 0. Everything is asked again by that.
local function fall_back(self)
  log.info("the router speaks NAT-PMP, not PCP", { address = self.client })
  self.version, self.heard_epoch = NATPMP, nil
  local waiting = {}
  for i, request in ipairs(self.pending) do waiting[i] = request end
  for _, request in ipairs(waiting) do
    request.timer:stop()
    request.wait = nil
    transmit(self, request)
  end
end

local function check_epoch(self, answer)
  local now = { epoch = answer.epoch, at = self.now() }
  local is_lost = self.heard_epoch and not port_control.is_same_epoch(self.heard_epoch, now)
  self.heard_epoch = now
  if is_lost then self.on_restart() end
end

--- A datagram from the router. What answers nothing that was asked is dropped.
-- @tparam string bytes  hostile
function Session:heard(bytes)
  local answer, message = pcp.decode(bytes)
  if not answer then
    log.debug("not understood", { address = self.client, error = message })
    return
  end
  if answer.version == NATPMP and self.version == PCP then
    if answer.result == UNSUPPORTED_VERSION and self.pending[1] then fall_back(self) end
    return
  end
  local request = answer.type ~= "announce" and find(self, answer) or nil
  if answer.version ~= self.version or not request and answer.type ~= "announce" then return end
  check_epoch(self, answer)
  if not request then return end
  if answer.result ~= 0 then
    return finish(self, request, { message = answer.result_text, code = "EREFUSED", result = answer.result })
  end
  finish(self, request, nil, { protocol = answer.protocol, internal_port = answer.internal_port,
    external_port = answer.external_port, external_address = answer.external_address, version = answer.version,
    lifetime = math.min(answer.lifetime or 0, LONGEST_LIFETIME) })
end

--- The wire failed: everything that waits ends with `err` (a table with message and code).
function Session:fail(err)
  while self.pending[1] do finish(self, self.pending[1], err) end
end

--- Give up what waits; nothing is sent any more.
function Session:close()
  self:fail({ message = "closed", code = "ECANCELED" })
  if self.socket and not self.socket:is_closing() then self.socket:close() end
end

--- A session on a UDP socket of its own, from `client` to the router's port 5351. The kernel drops what others send to
-- a connected socket.
-- @tparam table options  `client`, `router` (addresses of one family), `now`, `after`, `random`, `on_restart`, `port`
--   (5351 when absent)
-- @treturn Session  or nil, message, code (`"EADDRNOTAVAIL"`: the address is not on this node)
function port_control.open(options)
  local uv = require("luv")
  local socket = uv.new_udp()
  local function try(ok, message, code)
    if not ok and not socket:is_closing() then socket:close() end
    return ok, message, code
  end
  local self = port_control.new({ client = options.client, now = options.now, after = options.after,
    random = options.random, on_restart = options.on_restart, version = options.version,
    send = function(bytes) return socket:try_send(bytes, nil, nil) end })
  local ok, message, code = try(socket:bind(options.client, 0))
  if ok then ok, message, code = try(socket:connect(options.router, options.port or pcp.PORT)) end
  if ok then
    ok, message, code = try(socket:recv_start(function(err, bytes)
      if err then return self:fail({ message = "the router: " .. err, code = err:match("^E%u+") or "EIO" }) end
      if bytes then self:heard(bytes) end
    end))
  end
  if not ok then return nil, ("UDP from %s to %s: %s"):format(options.client, options.router, message), code end
  self.socket = socket
  return self
end

return port_control
