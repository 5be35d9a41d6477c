--- Services by label, for policies: a label that was asked for once is indexed from then on. Pure.
--
-- To index a label looks at all Services. Where a policy's time is measured, `on_missing` can put that off: it leaves
-- the call by an error, `add` is called, and the call is made again.
-- @module moonlb.allocator.label_index
local label_index = {}

local Index = { __name = "moonlb.allocator.label_index" }
Index.__index = Index

--- Labels that are indexed; more than a policy has a use for.
label_index.MAX_LABELS = 16

--- @treturn Index  `on_missing(label)`: called before a label is indexed in `find`; may raise
function label_index.new()
  return setmetatable({ by_label = {}, labels = 0 }, Index)
end

local function value_of(record, label)
  return record.labels[label]
end

local function put(values, record, label)
  local value = value_of(record, label)
  if value == nil or record.why_ignored then return end
  values[value] = values[value] or {}
  values[value][record.key] = record
end

local function cut(values, record, label)
  local value = value_of(record, label)
  local records = value ~= nil and values[value]
  if not records then return end
  records[record.key] = nil
  if not next(records) then values[value] = nil end
end

--- Put a Service's new record in the old one's place; either may be nil.
function Index:replace(old, new)
  for label, values in pairs(self.by_label) do
    if old then cut(values, old, label) end
    if new then put(values, new, label) end
  end
end

--- Index a label; the others are forgotten when there are too many.
-- @tparam string label
-- @tparam table services  all of them, {key = record}
function Index:add(label, services)
  if self.labels >= label_index.MAX_LABELS then self.by_label, self.labels = {}, 0 end
  local values = {}
  for _, record in pairs(services) do put(values, record, label) end
  self.by_label[label], self.labels = values, self.labels + 1
end

--- The Services with a label of a value.
-- @tparam string label
-- @tparam string value
-- @tparam table services  all of them, {key = record}; walked the first time a label is asked for
-- @treturn table  {key = record}, to be read only
function Index:find(label, value, services)
  if not self.by_label[label] then
    if self.on_missing then self.on_missing(label) end
    self:add(label, services)
  end
  return self.by_label[label][value] or {}
end

return label_index
