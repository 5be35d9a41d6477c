--- A pool as a map: one cell per address, or one for many where there are too many. Who holds what is collected in one
-- go; what is made of it may pause. Pure.
-- @module moonlb.status.map
local address = require("moonlb.core.address")
local service = require("moonlb.allocator.service")

local map = {}

--- So many addresses are shown one by one; a larger pool becomes about so many bins.
map.CELLS, map.BINS = 512, 256
--- At most so many ranges of a pool are drawn.
map.RANGES = 64

-- The fill of a bin in so many steps.
local STEPS = 5

--- Every address that is held, rests, or is quarantined, as an array of `{address=, holders=}`. In one go: the tables
-- of the allocator may change at the next pause.
-- @tparam Ownership ownership  of moonlb.allocator.ownership
-- @treturn table
function map.collect(ownership)
  local list = {}
  for item, record in pairs(ownership.holder) do list[#list + 1] = { address = item, holders = { record } } end
  for item, records in pairs(ownership.many) do
    list[#list + 1] = { address = item, holders = { table.unpack(records) } }
  end
  for item in pairs(ownership.resting) do
    if not ownership:is_held(item) then list[#list + 1] = { address = item, holders = {}, is_resting = true } end
  end
  for item in pairs(ownership.quarantine) do
    if not ownership:is_held(item) then list[#list + 1] = { address = item, holders = {} } end
  end
  return list
end

-- The pool's ranges, merged and in order, each with how many addresses it has.
local function ranges_of(pool)
  local set = address.set()
  for _, range in ipairs(pool.ranges) do set:add(range.first, range.last) end
  local list, total = set:ranges(), 0
  for _, range in ipairs(list) do
    range.size = address.distance(range.first, range.last) + 1
    total = total + range.size
  end
  return list, total
end

-- How many addresses a cell of a range stands for.
local function split(range, total, is_single)
  if is_single then
    range.step = 1
  else
    local bins = math.max(1, math.min(range.size, map.BINS * range.size // total))
    range.step = math.ceil(range.size / bins)
  end
  range.cells, range.count = {}, math.ceil(range.size / range.step)
end

-- The range that an address lies in, by halving; nil when none does.
local function find(ranges, item)
  local low, high = 1, #ranges
  while low <= high do
    local middle = (low + high) // 2
    local range = ranges[middle]
    if address.compare(item, range.first) < 0 then
      high = middle - 1
    elseif address.compare(item, range.last) > 0 then
      low = middle + 1
    else
      return range
    end
  end
  return nil
end

local function place(ranges, entry)
  local range = find(ranges, entry.address)
  if not range then return end
  local at = math.tointeger(address.distance(range.first, entry.address) // range.step) or 0
  local cell = range.cells[at]
  if not cell then
    cell = { used = 0, entries = {} }
    range.cells[at] = cell
  end
  cell.used = cell.used + (entry.holders[1] and 1 or 0)
  if range.step == 1 or #cell.entries < 3 then table.insert(cell.entries, entry) end
end

local function is_ending(item)
  return item:find("%.0$") ~= nil or item:find("%.255$") ~= nil
end

-- What one address is, and to whom.
local function judge_single(cell, item, context)
  local entry = cell and cell.entries[1]
  local quarantined = context.ownership.quarantine[item]
  if entry and entry.holders[1] then
    local names, level = {}, 0
    for i, record in ipairs(entry.holders) do
      if i <= 8 then names[i] = record.key end
      level = math.max(level, record.holds and record.holds[item] or 0)
    end
    local who = table.concat(names, ", ")
    local state = #entry.holders > 1 and "shared" or context.is_served(entry.holders[1], item) and "served" or "given"
    if level == service.ASKED then state = "asked" end
    if quarantined then state = "conflict" end
    return state, who
  end
  if quarantined then return "conflict", nil, quarantined.reason end
  local why = context.ownership:why_excluded(item)
  if why then return "excluded", nil, why end
  if entry and entry.is_resting then return "resting" end
  return is_ending(item) and "ending" or "free"
end

local function single(range, at, context)
  local item = address.add(range.first, at)
  local state, who, why = judge_single(range.cells[at], item, context)
  return { first = item, last = item, size = 1, state = state, who = who, why = why }
end

local function bin(range, at)
  local cell = range.cells[at]
  local offset = at * range.step
  local size = math.min(range.step, range.size - offset)
  local first = math.tointeger(offset) and address.add(range.first, math.tointeger(offset)) or range.first
  local last = math.tointeger(offset + size - 1) and address.add(range.first, math.tointeger(offset + size - 1))
    or range.last
  local used = cell and cell.used or 0
  local fill = used == 0 and 0 or math.max(1, math.min(STEPS, math.ceil(STEPS * used / size)))
  return { first = first, last = last, size = size, used = used, state = "fill" .. fill }
end

--- The map of a pool.
-- @tparam table pool  of `moonlb.allocator.engine`'s pools
-- @tparam table held  of `map.collect`
-- @tparam table context  `ownership`; `is_served(record, address)`; `pause()`: called often, may yield
-- @treturn table  `ranges`: array of `{first=, last=, cells={{first=, last=, size=, state=, who=, why=, used=}...}}`,
-- `is_binned`, `left_out`: ranges that are not drawn. A cell's `state` is served given asked shared conflict excluded
-- resting ending free, or, of a bin, fill0 (nothing used) to fill5 (full)
function map.draw(pool, held, context)
  local ranges, total = ranges_of(pool)
  local is_single = total <= map.CELLS
  local left_out = math.max(0, #ranges - map.RANGES)
  for i = #ranges, map.RANGES + 1, -1 do ranges[i] = nil end
  for _, range in ipairs(ranges) do split(range, total, is_single) end
  for _, entry in ipairs(held) do
    place(ranges, entry)
    context.pause()
  end
  local result = { ranges = {}, is_binned = not is_single, left_out = left_out }
  for i, range in ipairs(ranges) do
    local cells = {}
    for at = 0, range.count - 1 do
      cells[at + 1] = range.step == 1 and single(range, at, context) or bin(range, at)
      context.pause()
    end
    result.ranges[i] = { first = range.first, last = range.last, size = range.size, cells = cells }
  end
  return result
end

return map
