--- What a run before this one left on the router. A mapping is ours when it points to an address that this node holds,
-- and is described as ours; what nobody wants of those is taken back. Addresses that a crash left on this node, and
-- that no Service has any more, are held once more for it: a gateway in secure mode lets nobody else do it.
-- @module moonlb.announcer.upnp.leftovers
local async = require("moonlb.async")
local log = require("moonlb.core.log")
local wanted = require("moonlb.announcer.upnp.wanted")

local leftovers = {}

local Leftovers = { __name = "moonlb.announcer.upnp.leftovers" }
Leftovers.__index = Leftovers

-- Many addresses are held in the first seconds: the table is read once for all of them.
local GATHER = 2
-- An address that is held once more is probed first; seconds between looks, and how many.
local BORROW_STEP, BORROW_TRIES = 0.05, 100

--- @tparam Upnp room  moonlb.announcer.upnp
function leftovers.new(room)
  return setmetatable({ room = room, owner = room.owner, due = {}, strays = {}, borrowed = {} }, Leftovers)
end

--- Look through that gateway's table soon.
function Leftovers:look(at)
  if self.due[at] then
    self.due[at] = "again"
    return
  end
  self.due[at] = "once"
  async.timer(GATHER, function()
    if not at.driver or self.room.is_stopping then
      self.due[at] = nil
      return
    end
    self.due[at] = "once"
    async.run(function()
      self:sweep(at)
      local is_due = self.due[at] == "again"
      self.due[at] = nil
      if is_due then self:look(at) elseif not self.room.is_stopping then self.room:close_unused(at) end
    end)
  end)
end

-- Is the entry one that this node made, and wants?
local function is_wanted(room, entry)
  local it = room.mappings[("%s %s %d"):format(entry.address, entry.protocol, entry.port or 0)]
  -- One that is under way may be this very entry.
  return it and (it.state ~= "mapped" or it.external_port == entry.external_port)
end

local function take_back(at, driver, entry)
  local ok, message = driver:remove({ address = entry.address, family = 4, protocol = entry.protocol },
    entry.external_port)
  log[ok and "info" or "warn"]("mapping left behind", { router = at.router, address = entry.address, error = message,
    protocol = entry.protocol, outside = entry.external_port, description = entry.description })
  return ok
end

function Leftovers:sweep(at)
  local driver = at.driver
  local entries, message = driver:list()
  if not entries then return log.debug("the gateway's table was not read", { router = at.router, error = message }) end
  local count = 0
  for _, entry in ipairs(entries) do
    local it = entry.address and self.owner.vips[entry.address]
    local is_ours = wanted.uid_of(entry.description) ~= nil
    if is_ours and self.strays[entry.address] and not it then
      it = self:borrow(entry.address)
    end
    if at.driver ~= driver or self.room.is_stopping then return end
    if is_ours and it and it:is_answering() and not is_wanted(self.room, entry)
        and take_back(at, driver, entry) then
      count = count + 1
    end
  end
  self:give_back()
  if count > 0 then self:wake(at) end
end

--- Addresses that a crash left on this node and that nobody wants: their mappings are looked for, too.
-- @tparam table strays  array of addresses
function Leftovers:start(strays)
  for _, ip in ipairs(strays) do
    local link = not ip:find(":", 1, true) and self.owner:find_interface(ip, {})
    local at = link and self.room:gateway_for({ interface = link })
    if at then
      self.strays[ip] = true
      if at.driver then self:look(at) end
    end
  end
end

-- Hold a stray once more. Nobody answered for it since the crash: it is probed like any other address.
function Leftovers:borrow(ip)
  local it = self.owner:borrow(ip)
  if not it then return nil end
  self.borrowed[ip] = true
  for _ = 1, BORROW_TRIES do
    if it:is_answering() or it.state == "conflict" then break end
    async.sleep(BORROW_STEP)
  end
  return it
end

function Leftovers:give_back()
  for ip in pairs(self.borrowed) do self.owner:give_up(ip) end
  self.borrowed, self.strays = {}, {}
end

-- Ports came free: who failed for want of one may try again.
function Leftovers:wake(at)
  for _, it in pairs(self.room.mappings) do
    if it.gateway == at and it.state == "failed" then it:look() end
  end
end

return leftovers
