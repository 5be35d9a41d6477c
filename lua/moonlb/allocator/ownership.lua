--- Who holds which address, and which addresses nobody may be given: held, resting, excluded, quarantined. Pure.
--
-- All of these together are one ordered set, `taken`. Every pool is asked for its lowest address that is not in it, so
-- overlapping pools are one set of addresses, and nothing that is in `taken` can block a pool.
-- @module moonlb.allocator.ownership
local address = require("moonlb.core.address")
local service = require("moonlb.allocator.service")

local ownership = {}

local Ownership = { __name = "moonlb.allocator.ownership" }
Ownership.__index = Ownership

--- Seconds for which a freed address is not offered again: by then every node has stopped accepting for it.
ownership.REST = 5

-- Changes of `taken` that are remembered for those who count (see `changes_since`).
local LOG = 64
local NONE = {}

--- @tparam table options  `now`: seconds of a clock that never jumps; `utc`: seconds since 1970; `on_change(address)`:
-- called after its holders changed or it was excluded, or is no longer
-- @treturn Ownership
function ownership.new(options)
  return setmetatable({
    now = options.now, utc = options.utc, on_change = options.on_change,
    taken = address.set(),
    holder = {},	-- address -> its only holder's record
    many = {},		-- address -> array of records, where it has several
    resting = {},	-- address -> when it may be offered again
    rest_queue = {}, rest_first = 1, rest_last = 0,
    exclusions = {}, excluded = address.set(),
    quarantine = {},	-- address -> {expires=, reason=}
    next_quarantine = math.huge,
    version = 0, epoch = 0, log = {},
  }, Ownership)
end

-- Remember that an address entered (+1) or left (-1) the set of taken ones.
local function note(self, item, change)
  self.version = self.version + 1
  local entry = self.log[self.version % LOG]
  if entry then
    entry[1], entry[2] = item, change
  else
    self.log[self.version % LOG] = { item, change }
  end
end

local function take(self, item)
  if self.taken:contains(item) then return end
  self.taken:add(item)
  note(self, item, 1)
end

-- Offer an address again unless some reason not to is left.
local function untake(self, item)
  if self.holder[item] or self.many[item] or self.resting[item] or self.quarantine[item]
    or self.excluded:contains(item) or not self.taken:contains(item) then
    return
  end
  self.taken:remove(item)
  note(self, item, -1)
end

local function changed(self, item)
  if self.on_change then self.on_change(item) end
end

--- Give an address a holder, or put a newer record of the same Service in the older one's place.
function Ownership:hold(item, record)
  local single, several = self.holder[item], self.many[item]
  if several then
    local at = #several + 1
    for i, other in ipairs(several) do
      if other.key == record.key then at = i end
    end
    several[at] = record
    table.sort(several, service.is_older)
  elseif single and single.key ~= record.key then
    several = { single, record }
    table.sort(several, service.is_older)
    self.holder[item], self.many[item] = nil, several
  else
    self.holder[item] = record
  end
  if not (single or several) then
    self.resting[item] = nil
    take(self, item)
  end
  changed(self, item)
end

--- Take an address from a holder.
-- @tparam boolean is_resting  whether it rests before it is offered again (it was in use, not only reserved)
function Ownership:drop(item, record, is_resting)
  local several = self.many[item]
  if several then
    for i = #several, 1, -1 do
      if several[i].key == record.key then table.remove(several, i) end
    end
    if #several == 1 then self.holder[item], self.many[item] = several[1], nil end
  elseif self.holder[item] and self.holder[item].key == record.key then
    self.holder[item] = nil
    if is_resting then self:rest(item) else untake(self, item) end
  end
  changed(self, item)
end

--- Let an address rest.
function Ownership:rest(item)
  local ends = self.now() + ownership.REST
  self.resting[item] = ends
  self.rest_last = self.rest_last + 1
  self.rest_queue[self.rest_last] = { item, ends }
end

--- Put a Service's new record in its old one's place. Either may be nil.
-- @treturn boolean  whether an address lost a holder
function Ownership:replace(old, new, is_resting)
  local before, after = old and old.holds, new and new.holds
  local freed = false
  for item in pairs(after or NONE) do self:hold(item, new) end
  for item in pairs(before or NONE) do
    if not (after and after[item]) then
      self:drop(item, old, is_resting)
      freed = true
    end
  end
  return freed
end

--- The records of the Services that hold an address: an array, oldest first, to be read only.
function Ownership:holders(item)
  return self.many[item] or { self.holder[item] }
end

--- Whether anybody holds an address.
function Ownership:is_held(item)
  return self.holder[item] ~= nil or self.many[item] ~= nil
end

-- Everything anew, after a range was let go: rare, and the only thing that walks all holders.
local function rebuild(self)
  self.taken = self.excluded:copy()
  for _, map in ipairs({ self.holder, self.many, self.resting, self.quarantine }) do
    for item in pairs(map) do self.taken:add(item) end
  end
  self.epoch = self.epoch + 1
end

local function each_in(self, first, last)
  for _, map in ipairs({ self.holder, self.many }) do
    for item in pairs(map) do
      if address.compare(first, item) <= 0 and address.compare(item, last) <= 0 then changed(self, item) end
    end
  end
end

--- Take addresses out of every pool. The same addresses may be excluded for several reasons.
-- @tparam string text  an address, a CIDR or a range
-- @tparam string reason  shown to people
-- @treturn boolean|nil  true, or nil, message, `"EINVAL"`
function Ownership:exclude(text, reason)
  local item, message, code = address.item(text)
  if not item then return nil, message, code end
  for _, entry in ipairs(self.exclusions) do
    if entry.text == text and entry.reason == reason then return true end
  end
  table.insert(self.exclusions, { text = text, reason = reason, first = item.first, last = item.last })
  self.excluded:add(item.first, item.last)
  self.taken:add(item.first, item.last)
  self.epoch = self.epoch + 1
  each_in(self, item.first, item.last)
  return true
end

--- End an exclusion; the same text and reason as it was made with.
function Ownership:unexclude(text, reason)
  for i, entry in ipairs(self.exclusions) do
    if entry.text == text and entry.reason == reason then
      table.remove(self.exclusions, i)
      self.excluded = address.set()
      for _, left in ipairs(self.exclusions) do self.excluded:add(left.first, left.last) end
      rebuild(self)
      each_in(self, entry.first, entry.last)
      return
    end
  end
end

--- Keep an address out of every pool until a time, whoever holds it: a stranger answered for it.
-- @tparam number expires  seconds since 1970
function Ownership:set_quarantine(item, expires, reason)
  if expires <= self.utc() then return end
  self.quarantine[item] = { expires = expires, reason = reason }
  self.next_quarantine = math.min(self.next_quarantine, expires)
  take(self, item)
  changed(self, item)
end

local function end_quarantines(self, utc)
  self.next_quarantine = math.huge
  for item, entry in pairs(self.quarantine) do
    if entry.expires <= utc then
      self.quarantine[item] = nil
      untake(self, item)
      changed(self, item)
    else
      self.next_quarantine = math.min(self.next_quarantine, entry.expires)
    end
  end
end

--- Offer again what has rested, and end quarantines whose time is over. To be called before a decision.
-- @treturn boolean  whether any address came free
function Ownership:expire()
  local before, now = self.version, self.rest_first <= self.rest_last and self.now()
  while self.rest_first <= self.rest_last and self.rest_queue[self.rest_first][2] <= now do
    local item, ends = table.unpack(self.rest_queue[self.rest_first])
    self.rest_queue[self.rest_first] = nil
    self.rest_first = self.rest_first + 1
    if self.resting[item] == ends then
      self.resting[item] = nil
      untake(self, item)
    end
  end
  if self.next_quarantine < math.huge then
    local utc = self.utc()
    if self.next_quarantine <= utc then end_quarantines(self, utc) end
  end
  return self.version ~= before
end

--- Seconds until an address comes free by itself; nil when none will.
function Ownership:next_expiry()
  local delay = math.huge
  if self.rest_first <= self.rest_last then delay = self.rest_queue[self.rest_first][2] - self.now() end
  if self.next_quarantine < math.huge then delay = math.min(delay, self.next_quarantine - self.utc()) end
  return delay < math.huge and math.max(delay, 0) or nil
end

--- Why an address may not be given to anybody; nil when it may.
function Ownership:why_excluded(item)
  local quarantined = self.quarantine[item]
  if quarantined then return quarantined.reason end
  if not (self.exclusions[1] and self.excluded:contains(item)) then return nil end
  for _, entry in ipairs(self.exclusions) do
    if address.compare(entry.first, item) <= 0 and address.compare(item, entry.last) <= 0 then return entry.reason end
  end
  return nil
end

--- What entered and left `taken` since a version, so that who counts need not count anew.
-- @tparam table mark  `{version=, epoch=}` as it was then; brought up to date
-- @tparam func each  called with address and +1 or -1
-- @treturn boolean  false when too much has happened: count anew
function Ownership:changes_since(mark, each)
  local is_known = mark.epoch == self.epoch and self.version - mark.version <= LOG
  if is_known then
    for version = mark.version + 1, self.version do
      local entry = self.log[version % LOG]
      each(entry[1], entry[2])
    end
  end
  mark.version, mark.epoch = self.version, self.epoch
  return is_known
end

return ownership
