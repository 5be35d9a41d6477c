--- Writes what is announced into the Services: one patch to /status each, only where something differs.
-- @module moonlb.announcer.writer
local log = require("moonlb.core.log")
local moves = require("moonlb.announcer.moves")
local runtime = require("moonlb.core.runtime")
local status = require("moonlb.announcer.status")

local writer = {}

local Writer = { __name = "moonlb.announcer.writer" }
Writer.__index = Writer

--- A stranger's address stays out of pools for this time, in seconds.
writer.QUARANTINE = 600
--- Status is cleared when no node could serve any address of the Service for this time, in seconds.
writer.UNSERVED = 30

--- The addresses in a Service's status, as a set.
writer.in_status = status.addresses

--- @tparam Announcer owner  moonlb.announcer: its Services, VIPs, groups and placement are read, never changed
function writer.new(owner)
  return setmetatable({ owner = owner, status = status.new(owner.node, runtime.walltime),
    quarantine = {}, unserved = {}, failures = {} }, Writer)
end

--- A VIP changed: a stranger's claim begins, goes on, or is over.
function Writer:on_vip(it)
  local ip, now = it.address, runtime.walltime()
  if it:is_answering() or it.state == "gone" then
    self.quarantine[ip] = nil
  elseif it.state == "conflict" then
    local old = self.quarantine[ip]
    -- A conflict seen again soon after prolongs nothing yet: each prolongation is a write.
    if not old or old.mac ~= it.conflict.mac or old.expires - now < writer.QUARANTINE / 2 then
      self.quarantine[ip] = { address = ip, mac = it.conflict.mac, interface = it.conflict.interface,
        node = self.owner.node, expires = now + writer.QUARANTINE }
    end
  end
end

function Writer:conflicts(addresses)
  local entries = {}
  for _, ip in ipairs(addresses) do entries[#entries + 1] = self.quarantine[ip] end
  return entries
end

-- Which addresses status is to show: a wanted one that is there stays, one that answers comes. nil while one is about
-- to answer, or none does: then status is left alone.
function Writer:served(service, addresses)
  local shown, answers = {}, false
  local in_status = status.addresses(service)
  for _, ip in ipairs(addresses) do
    local it = self.owner.vips[ip]
    if not it or it.state == "probing" or it.is_taking then return nil end
    answers = answers or it:is_answering()
    if it:is_answering() or in_status[ip] then shown[#shown + 1] = ip end
  end
  return answers and shown or nil
end

-- Nobody serves it: for how long already? Ask again when the time is up.
function Writer:is_unserved_long(key)
  local now = runtime.boottime()
  self.unserved[key] = self.unserved[key] or now
  local rest = self.unserved[key] + writer.UNSERVED - now
  if rest <= 0 then return true end
  self.owner.queue:add_after(key, rest)
  return false
end

local function claims_for(service, node)
  local claim = (service.metadata.annotations or {})[status.CLAIM]
  return claim ~= nil and claim:match(" (%S+)$") == node
end

-- What the Service is to say, for Status:patch.
function Writer:wanted(key, service)
  local request = self.owner.requests[key]
  local is_ours = claims_for(service, self.owner.node)
  if not request then
    return { conflicts = {}, freed = {}, addresses = is_ours and not service.metadata.deletionTimestamp and {} or nil }
  end
  local wanted = { freed = {}, conflicts = self:conflicts(request.addresses),
    leaves_host = self.owner.rivals:is_fought_over(key) }
  if request.is_dhcp then
    wanted.addresses, wanted.lease = self.owner.dhcp:shown(key)
  else
    wanted.addresses = self:served(service, request.addresses)
  end
  for _, ip in ipairs(request.addresses) do
    wanted.freed[ip] = self.owner.vips[ip] ~= nil and self.owner.vips[ip]:is_answering()
  end
  local group = self.owner.groups:of(key)
  local _, claim = self.owner.placement:owner(group.id)
  if wanted.addresses then
    wanted.mappings, wanted.outside = self.owner.upnp:said_of(key)
    self.unserved[key] = nil
    -- The API may remember a higher one, of a node that is gone: that stays until somebody's is higher still.
    if self.owner.placement:outranks(group.id, self.owner:record(group)) then wanted.claim = claim end
    local move = moves.of(service)
    wanted.is_moved = move ~= nil and claim ~= nil and claim.term > move.term
    -- The group has another oldest Service since this turn began: it is placed in a moment, and written then.
    if not claim then
      wanted.addresses = nil
      self.owner.queue:add_after(key, 0.1)
    end
  elseif is_ours and not (claim and claim.node ~= self.owner.node) and self:is_unserved_long(key) then
    wanted.addresses = {}
  end
  return wanted
end

local function path_of(service)
  return ("/api/v1/namespaces/%s/services/%s/status"):format(service.metadata.namespace, service.metadata.name)
end

-- The Event goes with the write: a restart that changes nothing says nothing.
function Writer:announce_event(service, wanted)
  for _, ip in ipairs(wanted.addresses or {}) do
    local it = self.owner.vips[ip]
    if it and it:is_answering() then
      self.owner.events:emit(service, "Normal", "Announcing", ("%s on %s of node %s"):format(ip, it.interface.name,
        self.owner.node))
    end
  end
end

--- Bring one Service up to date. Inside a coroutine; the queue calls it again after a failure.
-- @treturn boolean  true; or nil, message, code
function Writer:write(key)
  local service = self.owner.services:get(key)
  self.failures[key] = nil
  if not service then
    self.unserved[key] = nil
    return true
  end
  local wanted = self:wanted(key, service)
  local patch = self.status:patch(service, wanted)
  if not patch then
    self.owner.dhcp:written(key, service)
    return true
  end
  local response, message, reason = self.owner.client:merge_patch(path_of(service), patch)
  if response then
    self.is_refused = nil
    self.status:learn(patch, response)
    self.owner.services:absorb(response)
    if patch.status then self:announce_event(service, wanted) end
    self.owner.dhcp:written(key, response)
    return true
  end
  if reason == "NotFound" then return true end
  -- A right that is missing concerns every Service and heals only by hand: it is said aloud, once.
  log[reason == "Forbidden" and not self.is_refused and "warn" or "debug"]("status not written", { service = key,
    error = message, reason = reason })
  self.is_refused = reason == "Forbidden"
  if reason ~= "Conflict" then self.failures[key] = { message = message, reason = reason } end
  return nil, message, reason
end

return writer
