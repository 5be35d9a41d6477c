--- One router: found, looked after, found again. It is asked every few seconds whether it is still the one that was
-- found; after a restart (its boot id, its uptime, a mapping that is gone) everything on it is to be made anew.
-- @module moonlb.announcer.upnp.gateway
local async = require("moonlb.async")
local igd = require("moonlb.announcer.upnp.igd")
local log = require("moonlb.core.log")
local pcp = require("moonlb.announcer.upnp.pcp")
local runtime = require("moonlb.core.runtime")
local soap = require("moonlb.announcer.upnp.soap")
local ssdp = require("moonlb.announcer.upnp.ssdp")

local gateway = {}

local Gateway = { __name = "moonlb.announcer.upnp.gateway" }
Gateway.__index = Gateway

--- Seconds between two looks at a gateway that works.
gateway.CHECK = 10
-- Waits between searches: 1 s, doubling up to this. A restart is over within 30 s for us, search included.
local SEARCH_CAP = 20
-- Uptimes are whole seconds of another clock.
local UPTIME_SLACK = 3

--- @tparam table options  `router`, `own` (the node's address there), `interface` (name), `check` (seconds),
--   `router6() -> address|nil` (the same router by IPv6),
--   `sample() -> mapping|nil`: one that should be on the gateway, `on_change(gateway, is_anew)`: it was found
--   (`is_anew`: map everything), lost, or its outside address is another
-- @treturn Gateway  searching, from the next turn of the loop on
function gateway.new(options)
  local self = setmetatable({ router = options.router, own = options.own, interface = options.interface,
    check_interval = options.check or gateway.CHECK,
    sample = options.sample, router6 = options.router6, on_change = options.on_change,
    wake = async.signal(), reason = ("looking for a gateway at %s on %s"):format(options.router, options.interface),
    failures = 0 }, Gateway)
  self.task = async.run(function()
    async.sleep(0)
    self:run()
  end)
  self:listen()
  return self
end

-- Listening is worth having, not necessary: the port may be another program's.
function Gateway:listen()
  local message
  self.listener, message = ssdp.listen({ own = self.own, router = self.router,
    on_message = function(heard) self:on_notify(heard) end })
  if not self.listener then log.debug("gateway notifications are not heard", { error = message }) end
end

function Gateway:on_notify(message)
  if self.is_closed then return end
  local is_other_boot = message.boot_id and self.boot_id and message.boot_id ~= self.boot_id
  if self.driver and (message.type == "byebye" or is_other_boot) then
    self:lose(message.type == "byebye" and "the gateway says that it goes" or "the gateway restarted")
    self:look()
  elseif not self.driver and message.type == "alive" then
    self:look()
  end
end

--- Look at it now, not when its time has come.
function Gateway:look()
  self.is_due = true
  self.wake:notify()
end

function Gateway:rest(seconds)
  if not self.is_due then self.wake:wait(seconds) end
  self.is_due = false
end

function Gateway:run()
  while not self.is_closed do
    if self.driver then
      self:rest(self.check_interval)
      if self.driver and not self.is_closed then self:check() end
    elseif self:discover() then
      self.failures = 0
    elseif not self.is_closed then
      self.failures = self.failures + 1
      self:rest(math.min(SEARCH_CAP, 2 ^ math.min(self.failures - 1, 10)))
    end
  end
end

-- The gateway is not there any more, or not as it was.
function Gateway:lose(why)
  if not self.driver then return end
  log.warn("gateway lost", { router = self.router, interface = self.interface, reason = why })
  self.driver:close()
  self.driver, self.reason = nil, why
  self.on_change(self, false)
end

local function take_status(self, status)
  self.uptime, self.uptime_at = status.uptime, runtime.boottime()
  self.is_connected, self.status = status.is_connected, status.status
  local is_changed = self.outside ~= status.outside
  self.outside = status.outside
  return is_changed
end

-- A description that can be used, of those that the router told of.
local function describe(self, client, locations)
  local description, message
  for _, location in ipairs(locations) do
    description, message = client:describe(location, self.own)
    if description then return description, location end
  end
  return nil, message
end

-- The one at that router, if it is a gateway by UPnP.
function Gateway:find_igd()
  local locations, message = ssdp.search({ own = self.own, router = self.router })
  if not locations then return nil, message end
  if not locations[1] then
    return nil, ("no UPnP gateway answers at %s, the router of %s"):format(self.router, self.interface)
  end
  local client = soap.new()
  local description, location = describe(self, client, locations)
  if not description then
    client:close()
    return nil, location
  end
  local driver = igd.new({ description = description, own = self.own, soap = client,
    router6 = self.router6 })
  local status, why = driver:status()
  if not status then
    driver:close()
    return nil, "the gateway does not say how it is: " .. tostring(why)
  end
  self.boot_id = location.boot_id
  take_status(self, status)
  return driver
end

-- Where no UPnP gateway answers, the router may speak PCP or NAT-PMP.
function Gateway:find_pcp()
  local driver = pcp.find({ router = self.router, own = self.own })
  local status = driver and driver:status()
  if status then
    self.boot_id = nil
    take_status(self, status)
    return driver
  end
  if driver then driver:close() end
  return nil
end

function Gateway:discover()
  local driver, message = self:find_igd()
  if not driver and not self.is_closed then driver = self:find_pcp() end
  if self.is_closed then
    if driver then driver:close() end
    return false
  end
  if not driver then
    if message ~= self.reason then
      log.warn("no gateway", { router = self.router, interface = self.interface, reason = message })
    end
    self.reason = message
    self.on_change(self, false)
    return false
  end
  self.driver, self.reason = driver, nil
  log.info("gateway found", { router = self.router, interface = self.interface, service = driver:name(),
    outside = self.outside, connection = self.status })
  self.on_change(self, true)
  return true
end

-- Its clock ran back: it started anew since we looked.
local function is_restarted(self, status)
  if not self.uptime or not status.uptime then return false end
  local expected = self.uptime + (runtime.boottime() - self.uptime_at)
  return status.uptime + UPTIME_SLACK < expected and status.uptime < self.uptime
end

-- A mapping that should be there is not. Only the gateway's own word for that counts.
local function is_forgetful(self, driver)
  local sample = self.sample()
  if not sample then return false end
  local entry, _, _, number = driver:find(sample.external_port, sample.protocol)
  if not entry then return number == igd.NO_SUCH_MAPPING and sample.is_mapped end
  return entry.address ~= sample.address and sample.is_mapped
end

function Gateway:check()
  local driver = self.driver
  local status, message, code = driver:status()
  if self.driver ~= driver then return end
  if not status then
    if code == "ECANCELED" then return end
    return self:lose("the gateway does not answer: " .. tostring(message))
  end
  local is_anew = is_restarted(self, status) or driver:was_restarted()
  local is_changed = take_status(self, status)
  is_anew = is_forgetful(self, driver) or is_anew
  if self.driver ~= driver then return end
  if is_anew then log.warn("the gateway lost its mappings", { router = self.router }) end
  if is_anew or is_changed then self.on_change(self, is_anew) end
end

--- Nobody needs it any more.
function Gateway:close()
  self.is_closed = true
  if self.listener then self.listener.close() end
  if self.driver then self.driver:close() end
  self.driver = nil
  self.task:cancel()
end

return gateway
