--- The objects in memory, under one counter: what etcd and the watch cache are to a real API server.
-- Every change of any kind takes the next resourceVersion and goes to a log per resource. The log is bounded: what fell
-- out of it can no longer be watched from or listed at (410). Objects are never changed once stored, so the log, lists
-- at an older version and the texts encoded from them stay right.
-- @module moonlb.sandbox.store
local json = require("moonlb.sandbox.json")

local store = {}

local Store = { __name = "moonlb.sandbox.store" }
Store.__index = Store

--- How many changes of one resource can be watched again.
store.default_history = 16384

--- An empty store.
-- @tparam[opt] table options  `history`: changes kept for each resource
-- @treturn Store
function store.new(options)
  return setmetatable({
    revision = 1,
    history = options and options.history or store.default_history,
    shelves = {},
  }, Store)
end

-- One resource: objects by key, their keys in order, the log, who listens. The log is whole after revision `lower`.
local function shelf_of(self, name)
  local shelf = self.shelves[name]
  if not shelf then
    shelf = { objects = {}, keys = {}, log = {}, first = 1, last = 0, lower = self.compacted or 0, watchers = {} }
    self.shelves[name] = shelf
  end
  return shelf
end

-- The first position whose value is not below `wanted`.
local function lower_bound(first, last, below)
  while first <= last do
    local middle = (first + last) // 2
    if below(middle) then
      first = middle + 1
    else
      last = middle - 1
    end
  end
  return first
end

local function key_position(keys, key)
  return lower_bound(1, #keys, function(i) return keys[i] < key end)
end

local function write_log(self, shelf, event)
  shelf.last = shelf.last + 1
  shelf.log[shelf.last] = event
  if shelf.last - shelf.first >= self.history then
    shelf.lower = shelf.log[shelf.first].revision
    shelf.log[shelf.first] = nil
    shelf.first = shelf.first + 1
  end
end

local function commit(self, name, kind, key, object, old)
  local shelf = shelf_of(self, name)
  self.revision = self.revision + 1
  object.metadata.resourceVersion = tostring(self.revision)
  local record = { key = key, revision = self.revision, object = object, texts = {} }
  shelf.objects[key] = kind ~= "DELETED" and record or nil
  local event = { revision = self.revision, type = kind, record = record, old = old, texts = {} }
  write_log(self, shelf, event)
  for _, watcher in ipairs(table.move(shelf.watchers, 1, #shelf.watchers, 1, {})) do
    if not watcher.stopped then
      watcher.on_event(event)
    end
  end
  return record
end

--- The record of one object, or nil: `{key=, revision=, object=, texts={}}`. Read only, but for `texts`, where
-- callers keep what they encoded from it.
function Store:get(name, key)
  return shelf_of(self, name).objects[key]
end

--- Store a new object. The key must be free.
-- @tparam string name  resource
-- @tparam string key  `namespace/name` or `name`
-- @tparam table object  the store's from now on; its resourceVersion is set
-- @treturn table  record
function Store:create(name, key, object)
  local shelf = shelf_of(self, name)
  assert(not shelf.objects[key], "key exists: " .. key)
  table.insert(shelf.keys, key_position(shelf.keys, key), key)
  return commit(self, name, "ADDED", key, object, nil)
end

-- Equal but for the resourceVersion? Both are put back as they were.
local function is_same(old, object)
  local version = object.metadata.resourceVersion
  object.metadata.resourceVersion = old.metadata.resourceVersion
  local same = json.equal(old, object)
  object.metadata.resourceVersion = version
  return same
end

--- Replace an object. One that changes nothing keeps its resourceVersion and is seen by no watch.
-- @treturn table  record, new or old
function Store:replace(name, key, object)
  local old = assert(self:get(name, key), "no such key")
  if is_same(old.object, object) then
    return old
  end
  return commit(self, name, "MODIFIED", key, object, old)
end

--- Remove an object.
-- @tparam[opt] table object  its last state, when that differs from what is stored
-- @treturn table  the last record, with the deletion's resourceVersion
function Store:remove(name, key, object)
  local shelf = shelf_of(self, name)
  local old = assert(shelf.objects[key], "no such key")
  table.remove(shelf.keys, key_position(shelf.keys, key))
  return commit(self, name, "DELETED", key, object or json.copy(old.object), old)
end

-- ---- reading at a revision ----

-- What differed at `revision`: key -> record then, or false where there was none.
local function differences(shelf, revision)
  local differ = {}
  for i = shelf.last, shelf.first, -1 do
    local event = shelf.log[i]
    if event.revision <= revision then
      break
    end
    differ[event.record.key] = event.old or false
  end
  return differ
end

-- The keys at that time: those of now, and those deleted since.
local function keys_then(shelf, differ)
  local gone = false
  for key, record in pairs(differ) do
    gone = gone or (record and not shelf.objects[key])
  end
  if not gone then
    return shelf.keys
  end
  local keys = table.move(shelf.keys, 1, #shelf.keys, 1, {})
  for key, record in pairs(differ) do
    if record and not shelf.objects[key] then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  return keys
end

--- Walk the objects in key order.
-- @tparam string name  resource
-- @tparam table range  `prefix` of the keys (`"ns/"` or `""`), `from`: start at this key, `at`: the state at this
--   revision
-- @treturn function  iterator giving records, or nil, message, `"Expired"` when `at` has left the log
function Store:each(name, range)
  local shelf = shelf_of(self, name)
  local differ = {}
  if range.at and range.at < self.revision then
    if range.at < shelf.lower then
      return nil, "compacted", "Expired"
    end
    differ = differences(shelf, range.at)
  end
  local keys = keys_then(shelf, differ)
  local prefix = range.prefix or ""
  local i = key_position(keys, range.from and range.from > prefix and range.from or prefix) - 1
  return function()
    while true do
      i = i + 1
      local key = keys[i]
      if not key or key:sub(1, #prefix) ~= prefix then
        return nil
      end
      local record = differ[key]
      if record == nil then
        record = shelf.objects[key]
      end
      if record then
        return record
      end
    end
  end
end

--- How many objects a resource has.
function Store:count(name)
  return #shelf_of(self, name).keys
end

-- ---- watching ----

--- Hear of changes.
-- @tparam string name  resource
-- @tparam integer|nil from  changes after this revision are given at once; nil: from now on
-- @tparam function on_event  gets `{revision=, type="ADDED"|"MODIFIED"|"DELETED", record=, old=record|nil, texts={}}`
-- @treturn table  watcher with `stop()`, or nil, message, `"Expired"`
function Store:watch(name, from, on_event)
  local shelf = shelf_of(self, name)
  if from and from < shelf.lower then
    return nil, ("too old resource version: %d (%d)"):format(from, shelf.lower), "Expired"
  end
  local watcher = { on_event = on_event }
  function watcher.stop(this)
    this.stopped = true
    for i, other in ipairs(shelf.watchers) do
      if other == this then
        table.remove(shelf.watchers, i)
      end
    end
  end
  table.insert(shelf.watchers, watcher)
  if from then
    local first = lower_bound(shelf.first, shelf.last, function(i) return shelf.log[i].revision <= from end)
    for i = first, shelf.last do
      if not watcher.stopped then
        on_event(shelf.log[i])
      end
    end
  end
  return watcher
end

--- Forget the past: older resourceVersions can no longer be watched from or listed at.
function Store:compact()
  self.compacted = self.revision
  for _, shelf in pairs(self.shelves) do
    shelf.log, shelf.first, shelf.last, shelf.lower = {}, 1, 0, self.revision
  end
end

return store
