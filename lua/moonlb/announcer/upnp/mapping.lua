--- One port of one Service on the router: asked for, renewed at half its lease, taken back. A task of its own; what it
-- waits for may be as slow as the router is.
--
--     waiting ──▶ mapped ──▶ removing ──▶ gone      (failed: asked for again, with back-off)
-- @module moonlb.announcer.upnp.mapping
local async = require("moonlb.async")
local igd = require("moonlb.announcer.upnp.igd")
local log = require("moonlb.core.log")
local runtime = require("moonlb.core.runtime")
local soap = require("moonlb.announcer.upnp.soap")
local wanted = require("moonlb.announcer.upnp.wanted")

local mapping = {}

local Mapping = { __name = "moonlb.announcer.upnp.mapping" }
Mapping.__index = Mapping

-- Waits after a failure, in seconds: doubled from the first to the last.
local RETRY_BASE, RETRY_CAP = 2, 300
-- Without a gateway nothing happens but that one is found: that wakes us.
local IDLE = 3600
-- A permanent mapping is looked after all the same: asked for again so often.
local PERMANENT_CARE = 1800
-- A lease shorter than this is renewed no more often than each second.
local SHORTEST_WAIT = 1
local REMOVE_TRIES, REMOVE_WAIT = 3, 1

--- @tparam table options  `address`, `family`, `protocol`, `port`, `external_port` (the wish), `service` (key), `uid`,
--   `gateway`, `lease` (seconds), `any_port` (may the gateway choose another one?), `name_of(uid)` (a Service's key, or
--   nil), `on_change(mapping, old_state)`, `on_gone(mapping)`
-- @treturn Mapping  at work
function mapping.new(options)
  local self = setmetatable({ address = options.address, family = options.family, protocol = options.protocol,
    port = options.port, wish = options.external_port, service = options.service, uid = options.uid,
    description = wanted.description(options.uid), gateway = options.gateway, lease = options.lease,
    any_port = options.any_port, name_of = options.name_of, on_change = options.on_change, on_gone = options.on_gone,
    state = "waiting", since = runtime.boottime(), wake = async.signal(), failures = 0 }, Mapping)
  self.task = async.run(function() self:run() end)
  return self
end

--- Do what there is to do now, not when its time has come.
function Mapping:look()
  self.is_due = true
  self.wake:notify()
end

function Mapping:run()
  async.sleep(0)	-- whoever made it knows it by then
  while not self.is_over do
    self.is_due = false
    local wait = self:attempt()
    if not self.is_over and not self.is_due then self.wake:wait(wait) end
  end
  if self.must_remove then self:remove() end
  self.on_gone(self)
end

function Mapping:set_state(state, reason)
  local old = self.state
  local is_news = old ~= state or self.reason ~= reason
  self.state, self.reason = state, reason
  if old ~= state then self.since = runtime.boottime() end
  if not is_news then return end
  log.info("mapping", { address = self.address, port = self.port, protocol = self.protocol, from = old, to = state,
    outside = self.external_port, service = self.service, reason = reason })
  self.on_change(self, old)
end

-- Who has the port, in words; and whether that passes by itself, because it is a mapping of ours on its way out.
function Mapping:holder(port)
  local entry = self.gateway.driver and self.gateway.driver:find(port, self.protocol)
  if not entry then return nil end
  local uid = wanted.uid_of(entry.description)
  local service = uid and self.name_of(uid)
  local what = entry.description ~= "" and ("%q"):format(entry.description) or "no description"
  local text = ("%s %d is mapped to %s:%s (%s)"):format(self.protocol, port, entry.address or "?", entry.port or "?",
    service and "Service " .. service or what)
  return text, entry, uid
end

-- The port is somebody else's: say whose, or ask for another one.
function Mapping:settle_conflict(message, code, number)
  local driver = self.gateway.driver
  local text, entry, uid = self:holder(self.wish)
  if entry and uid and entry.address == self.address and self.gateway.driver == driver then
    -- Left behind by a Service that had this address before: ours to take back.
    if driver:remove(self, self.wish) then return driver:add(self, self.wish, self.lease) end
  end
  if self.any_port and driver == self.gateway.driver and driver and driver:can_choose() then
    local given, any_message, any_code, any_number = driver:add_any(self, self.wish, self.lease)
    if given then return given end
    message, code, number = any_message, any_code, any_number
  end
  self.is_passing = uid == self.uid
  return nil, text and ("%s: %s"):format(message, text) or message, code, number
end

-- Ask the gateway, once, with what may follow from its answer.
function Mapping:ask(driver)
  local port = self.external_port or self.wish
  local given, message, code, number = driver:add(self, port, self.lease)
  if given or number ~= igd.CONFLICT or self.is_over then return given, message, code, number end
  return self:settle_conflict(message, code, number)
end

local function retry_wait(self)
  self.failures = self.failures + 1
  return math.min(RETRY_CAP, RETRY_BASE * 2 ^ math.min(self.failures - 1, 10))
end

-- A refusal ends what was; an unanswered question leaves it until its lease runs out.
local function fail(self, message, code)
  local is_refused = code == soap.REFUSED
  if is_refused then self.external_port, self.expires = nil, nil end
  if self.is_passing and self.failures < 3 then
    self.is_passing = false
    return retry_wait(self)
  end
  self:set_state("failed", message)
  return retry_wait(self)
end

function Mapping:attempt()
  local driver = self.gateway.driver
  if not driver then
    if self.gateway.reason and self.gateway.failures > 0 then self:set_state("waiting", self.gateway.reason) end
    return IDLE
  end
  local began = runtime.boottime()
  local given, message, code = self:ask(driver)
  if self.is_over then
    self.external_port = self.external_port or given and given.external_port
    return 0
  end
  if not given then
    if code == "ECANCELED" then return RETRY_BASE end	-- the gateway was lost meanwhile; found again, it wakes us
    if code ~= soap.REFUSED then self.gateway:look() end
    return fail(self, message, code)
  end
  self.failures, self.external_port, self.given_lease = 0, given.external_port, given.lease
  self.expires = given.lease > 0 and began + given.lease or nil
  self.is_mapped = true
  self:set_state("mapped")
  return given.lease > 0 and math.max(SHORTEST_WAIT, given.lease / 2) or PERMANENT_CARE
end

--- Is it, to our knowledge, on the router now?
function Mapping:is_open()
  return self.external_port ~= nil and self.is_mapped ~= nil
    and (not self.expires or runtime.boottime() < self.expires)
end

-- Take it back; that is tried a few times, for permanent mappings would stay for ever.
function Mapping:remove()
  self:set_state("removing")
  for try = 1, REMOVE_TRIES do
    local driver = self.gateway.driver
    local ok, message, code = true, nil, nil
    if driver then
      ok, message, code = driver:remove(self, self.external_port or self.wish)
    elseif self.external_port then
      ok, message = nil, self.gateway.reason
    end
    if ok or code == soap.REFUSED or self.is_abandoned or try == REMOVE_TRIES then
      if not ok then log.warn("mapping not removed", { address = self.address, port = self.port, error = message }) end
      return
    end
    async.sleep(REMOVE_WAIT)
  end
end

--- It is not wanted any more: take it off the router, if it may be there, and say so by `on_gone`.
function Mapping:finish()
  if self.is_over then return end
  self.is_over = true
  self.must_remove = self.external_port ~= nil or self.state ~= "failed"
  self:look()
end

--- The address is not this node's any more: whoever has it now looks after it.
function Mapping:abandon()
  self.is_over, self.is_abandoned = true, true
  self.must_remove = false
  self:look()
end

return mapping
