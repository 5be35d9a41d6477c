--- Pools: where addresses come from. A pool is one or more sources, tried in order; within a source the lowest free
-- address goes first (the highest with `search-order: desc`). Pure; asks, never takes.
-- @module moonlb.allocator.pools
local address = require("moonlb.core.address")
local family = require("moonlb.allocator.family")

local pools = {}

local Pool = { __name = "moonlb.allocator.pool" }
Pool.__index = Pool

local NOTHING = address.set()
local MAX_AT_ONCE = 16
-- Pools that policies name by text are kept for the next decision, up to this many.
local MAX_NAMED = 256

-- `name` is for people; `pool` is the namespace or `global` of a configured one.
local function new_pool(book, name, sources, is_shared, pool)
  return setmetatable({ book = book, name = name, pool = pool, sources = sources, is_shared = is_shared,
    is_dhcp = #sources == 1 and sources[1].is_dhcp, sizes = {}, counts = {} }, Pool)
end

local function is_ending(item)
  return item:find("%.0$") ~= nil or item:find("%.255$") ~= nil
end

--- How many addresses of a family the pool can give, when all are free. Overlapping sources count twice.
function Pool:size(number)
  local size = self.sizes[number]
  if not size then
    size = 0
    for _, source in ipairs(self.sources) do size = size + source.set:free_count(NOTHING, number) end
    self.sizes[number] = size
  end
  return size
end

--- Whether the pool has addresses of a family at all.
function Pool:has(number)
  return self:size(number) > 0
end

--- Whether an address is one of the pool's: the key of the source that has it, or nil.
function Pool:source_of(item)
  for _, source in ipairs(self.sources) do
    if source.set:contains(item) then return source.key end
  end
  return nil
end

-- What is taken and in the pool: of what is taken, all but what is outside. Not the pool's size less what is free:
-- those are floats for a large block of IPv6, whose difference says 0 of a few.
local function count_used(self, number)
  local taken, used = self.book.ownership.taken, 0
  local all = taken:free_count(NOTHING, number)
  for _, source in ipairs(self.sources) do
    used = used + all - taken:free_count(source.set, number)
  end
  return math.tointeger(used) or used
end

--- How many of them nobody can be given now: held, resting, excluded or quarantined. Kept up to date from what changed
-- since the last call, so asking before each decision costs the same however full the pool is.
function Pool:used(number)
  local count = self.counts[number]
  local ownership = self.book.ownership
  if not count then
    count = { version = ownership.version, epoch = ownership.epoch, used = count_used(self, number) }
    self.counts[number] = count
    return count.used
  end
  local is_known = ownership:changes_since(count, function(item, change)
    if family.of(item) ~= number or (number == 4 and is_ending(item)) then return end
    for _, source in ipairs(self.sources) do
      if source.set:contains(item) then count.used = count.used + change end
    end
  end)
  if not is_known then count.used = count_used(self, number) end
  return count.used
end

local function preferred(self, number, prefer)
  local wanted = address.canonical(prefer)
  for _, source in ipairs(self.sources) do
    local item = wanted or address.hash(prefer, source.set, number)
    if item and family.of(item) == number and source.set:contains(item) and not is_ending(item)
      and not self.book.ownership.taken:contains(item) then
      return item, source.key
    end
  end
  return nil
end

--- One free address of a family, or one to share.
-- @tparam number number  4 or 6
-- @tparam table options  `prefer`: an address, or any text, whose hash then picks one: given when it is free; `share`:
-- an address that other Services hold will do, where the pool allows sharing; `record`: the Service
-- @treturn string|nil  the address
-- @treturn string|nil  the key of its source
function Pool:free_one(number, options)
  if options.share and self.is_shared then
    local item = self.book.sharing:find(self.pool, number, options.record)
    if item then return item, self:source_of(item) end
  end
  if options.prefer then
    local item, key = preferred(self, number, options.prefer)
    if item then return item, key end
  end
  for _, source in ipairs(self.sources) do
    local item = source.set:free(self.book.ownership.taken, number, self.book.is_descending)
    if item then return item, source.key end
  end
  return nil
end

-- n addresses of a family: each is taken for a moment, so that the next call finds another.
local function free_many(self, number, options, result)
  local taken, found, one = self.book.ownership.taken, {}, options
  local first_key
  for i = 1, options.n do
    local item, key = self:free_one(number, one)
    if not item then break end
    found[i], first_key = item, first_key or key
    if taken:contains(item) then
      one = { record = options.record, prefer = options.prefer }	-- there is one to share: the rest are free ones
    else
      taken:add(item)
    end
  end
  for _, item in ipairs(found) do
    if not self.book.ownership:is_held(item) then taken:remove(item) end
  end
  if #found < options.n then return nil end
  table.move(found, 1, #found, #result + 1, result)
  return first_key
end

local SINGLE = { [4] = { 4 }, [6] = { 6 } }

local function families(self, options)
  local wanted = options.record.wanted
  if options.family then return SINGLE[options.family], "one" end
  if wanted.mode == "any" then return SINGLE[self:has(4) and 4 or 6], "one" end
  return wanted.order, wanted.mode
end

--- A pool that had too few free addresses, in words.
-- @tparam table entry  `{pool=, family=, used=, size=}`: numbers above 2^63 are floats
function pools.describe_full(entry)
  return ("%s %s: %.0f of %.0f %s addresses used"):format(entry.pool,
    entry.used < entry.size and "has too few left" or "is full", entry.used, entry.size, family.name(entry.family))
end

--- What is said of a source list that has too few free addresses of a family.
local function failure(self, number)
  if not self:has(number) then
    return ("%s has no %s addresses"):format(self.name, family.name(number))
  end
  local full = { pool = self.name, family = number, used = self:used(number), size = self:size(number) }
  return pools.describe_full(full), full
end

--- Free addresses for a Service, by its families (design, section 4.1) when none is given.
-- @tparam table options  as of `free_one`, and `family` (4 or 6), `n`: how many of each family (1 to 16)
-- @treturn table|nil  addresses, first family first
-- @treturn string  the key of the first one's source; or why there is none
-- @treturn table|nil  when it has too few: `{pool=, family=, used=, size=}`
function Pool:free(options)
  if self.is_dhcp then return nil, self.name .. " is DHCP" end
  if not (self:has(4) or self:has(6)) then return nil, self.name .. " has no addresses" end
  local n = options.n or 1
  options.n = n < 1 and 1 or n > MAX_AT_ONCE and MAX_AT_ONCE or n
  local order, mode = families(self, options)
  local result, first_key, why, exhausted = {}, nil, nil, nil
  for _, number in ipairs(order) do
    local key
    if n <= 1 then
      result[#result + 1], key = self:free_one(number, options)
    else
      key = free_many(self, number, options, result)
    end
    first_key = first_key or key
    if not key then
      local message, full = failure(self, number)
      why, exhausted = why and why .. "; " .. message or message, exhausted or full
    end
  end
  if not first_key or (why and mode ~= "prefer") then return nil, why, exhausted end
  return result, first_key
end

local Book = { __name = "moonlb.allocator.pools" }
Book.__index = Book

--- All pools of a configuration.
-- @tparam Config config
-- @tparam Ownership ownership
-- @tparam Sharing sharing
-- @treturn Book
function pools.new(config, ownership, sharing)
  return setmetatable({ config = config, ownership = ownership, sharing = sharing,
    is_descending = config.is_descending, configured = {}, named = {}, named_count = 0 }, Book)
end

local function label(sources)
  local keys = {}
  for i, source in ipairs(sources) do keys[i] = source.key end
  return table.concat(keys, "+")
end

local function configured(self, pool)
  local known = self.configured[pool]
  if known == nil then
    local sources = self.config:namespace_sources(pool)
    known = sources and new_pool(self, label(sources), sources, self.config:is_shared(pool), pool) or false
    self.configured[pool] = known
  end
  return known or nil
end

--- The pool of a namespace; nil when it has none and the global one serves it.
function Book:namespace(namespace)
  return configured(self, namespace)
end

--- The global pool; nil when there is none.
function Book:global()
  return configured(self, "global")
end

--- The pool that serves a namespace; nil when there is none.
function Book:serving(namespace)
  return configured(self, self.config:pool_of(namespace))
end

--- A pool made of items, as in the ConfigMap: `"10.9.0.0/24, 10.8.0.1-10.8.0.9"`.
-- @treturn Pool|nil  or nil and what is wrong with an item
function Book:parse(text)
  local known = self.named[text]
  if known then return known end
  local set = address.set()
  for part in text:gmatch("[^,\n]+") do
    if part:find("%S") then
      local item, message = address.item(part:match("^%s*(.-)%s*$"))
      if not item then return nil, message end
      set:add(item.first, item.last)
    end
  end
  if self.named_count >= MAX_NAMED then self.named, self.named_count = {}, 0 end
  known = new_pool(self, text, { { key = text, set = set } }, false)
  self.named[text], self.named_count = known, self.named_count + 1
  return known
end

--- The pools of the configuration, in the order of their names.
function Book:each()
  local list = {}
  for i, name in ipairs(self.config:pool_names()) do list[i] = configured(self, name) end
  return ipairs(list)
end

return pools
