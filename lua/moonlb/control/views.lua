--- The daemon's live state as collections that people look through: rows by key, in pages. Read only; every step is
-- bounded, and work on many things gives the loop its turns.
-- @module moonlb.control.views
local fields = require("moonlb.allocator.fields")
local index = require("moonlb.status.index")
local json = require("moonlb.json")
local runtime = require("moonlb.core.runtime")
local services = require("moonlb.status.services")
local settings = require("moonlb.cli.settings")
local snapshot = require("moonlb.status.snapshot")

local views = {}

local Views = { __name = "moonlb.control.views" }
Views.__index = Views

--- Rows of a page, and names that a completion shows.
views.PAGE, views.NAMES = 25, 64

-- Each collection is `{keys(self) -> sorted array, row(self, key) -> table|nil, whole(self, key) -> table|nil}`; `row`
-- is for tables, `whole` (default: the row) is all of it.
local COLLECTIONS = {}

local function sorted_keys(self, map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  return index.sort(keys, self.pause)
end

-- A collection from an array of rows that some part of the daemon gives.
local function from_list(name, list_of)
  local function by_key(self)
    local map = {}
    for i, it in ipairs(list_of(self.daemon, self)) do map[tostring(it[name] or i)] = it end
    return map
  end
  return {
    keys = function(self)
      self.listed = by_key(self)
      return sorted_keys(self, self.listed)
    end,
    row = function(self, key, is_page)
      if not is_page then self.listed = by_key(self) end
      return self.listed[key]
    end,
  }
end

local function wall(boottime)
  return boottime and math.floor(runtime.walltime() - (runtime.boottime() - boottime))
end

-- Services ----------------------------------------------------------------------------------------------------------

local function given_by(object)
  local annotations = object.metadata.annotations
  local text = type(annotations) == "table" and annotations[fields.ASSIGNED]
  return type(text) == "string" and text:match("^%S+%s+(%S+)") or nil
end

local function service_row(self, key)
  local object = self.daemon.services:get(key)
  if not object or type(object.spec) ~= "table" or object.spec.type ~= "LoadBalancer" then return nil end
  local row = services.describe(key, object, self.context)
  return { name = key, addresses = json.array(row.addresses), state = row.state, node = row.owner,
    rule = given_by(object), says = row.sentence }, object
end

COLLECTIONS.services = {
  keys = function(self) return self.source.index:keys(self.pause) end,
  row = function(self, key) return (service_row(self, key)) end,
  whole = function(self, key)
    local row, object = service_row(self, key)
    if not row then return nil end
    row.metadata, row.spec, row.status = object.metadata, object.spec, object.status
    return row
  end,
}

-- The Service as the API has it: what `plan` in a session works on.
COLLECTIONS.objects = {
  keys = COLLECTIONS.services.keys,
  row = function(self, key)
    local object = self.daemon.services:get(key)
    return object and { name = key, metadata = object.metadata, spec = object.spec, status = object.status }
  end,
}

-- The others --------------------------------------------------------------------------------------------------------

COLLECTIONS.pools = from_list("name", function(daemon)
  local list = {}
  for i, pool in ipairs(daemon.allocator and daemon.allocator.engine:pools() or {}) do
    local row = { name = pool.name, keys = json.array(pool.keys), shared = pool.is_shared or false, used = 0, size = 0,
      ranges = json.array({}) }
    for _, part in ipairs(pool.families) do
      row.used, row.size = row.used + part.used, row.size + part.size
      row[part.family] = { used = part.used, size = part.size }
    end
    for j = 1, math.min(#pool.ranges, 64) do
      row.ranges[j] = ("%s-%s"):format(pool.ranges[j].first, pool.ranges[j].last)
    end
    list[i] = row
  end
  return list
end)

COLLECTIONS.nodes = from_list("name", function(_, self)
  local list = {}
  for i, node in ipairs((self.source:nodes())) do
    list[i] = { name = node.name, state = node.state, says = node.says, services = node.services or node.held,
      interfaces = json.array(node.interfaces), mac = node.mac, draining = node.is_draining or false }
  end
  return list
end)

local function vip_row(it)
  return { address = it.address, state = it.state, since = wall(it.since), reason = it.reason,
    interface = it.interface and it.interface.name, services = json.array(it.keys or {}) }
end

COLLECTIONS.vips = {
  keys = function(self) return sorted_keys(self, self.daemon.announcer and self.daemon.announcer.vips or {}) end,
  row = function(self, key)
    local it = self.daemon.announcer and self.daemon.announcer.vips[key]
    return it and vip_row(it)
  end,
}

-- What a part of the announcer says of itself by `leases()` and `mappings()`; times as people have them.
local function from_announcer(method)
  return function(daemon)
    local announcer, list = daemon.announcer, {}
    for i, it in ipairs(announcer and announcer[method] and announcer[method](announcer) or {}) do
      local row = {}
      for name, value in pairs(it) do row[name] = value end
      row.since, row.expires = wall(it.since), wall(it.expires)
      row.key = it.service and ("%s %s/%s"):format(it.service, it.port or it.address or i, it.protocol or i)
      list[i] = row
    end
    return list
  end
end

COLLECTIONS.leases = from_list("service", from_announcer("leases"))
COLLECTIONS.mappings = from_list("key", from_announcer("mappings"))

COLLECTIONS.policy = from_list("name", function(daemon)
  local list = daemon.policies and daemon.policies:list() or {}
  local fallback = daemon.settings.policy_fallback
  list[#list + 1] = { name = "default", file = "(part of moonlb)", is_loaded = true, failures = 0,
    note = fallback == "default" and "decides where another fails" or nil }
  return list
end)

COLLECTIONS.config = from_list("name", function(daemon)
  local list = {}
  for _, it in ipairs(daemon.is_offline and {} or settings.list) do
    local value = daemon.settings[it.key]
    if type(value) == "table" then value = table.concat(value, ",") end
    list[#list + 1] = { name = it.key, value = value, flag = it.flag, help = it.help }
  end
  local configmap = daemon.allocator and daemon.allocator.configmap
  for name, value in pairs(type(configmap) == "table" and configmap.data or {}) do
    list[#list + 1] = { name = name, value = value, flag = "ConfigMap" }
  end
  return list
end)

-- Looking -----------------------------------------------------------------------------------------------------------

-- The first place in a sorted array whose text is not below `text`.
local function first_from(keys, text)
  local low, high = 1, #keys + 1
  while low < high do
    local middle = (low + high) // 2
    if keys[middle] < text then low = middle + 1 else high = middle end
  end
  return low
end

local function begin(self, request)
  local collection = self.own[request.what] or COLLECTIONS[request.what]
  if not collection then return nil, ("no collection %s"):format(tostring(request.what):sub(1, 64)), "ENOENT" end
  -- Requests take turns: what belongs to one is no other's.
  return collection, setmetatable({ context = self.source:context() }, { __index = self })
end

local function text_of(value) return type(value) == "string" and value or "" end

--- A page of a collection.
-- @tparam table request  `what`, `prefix` (only keys that begin so), `after` (a key: go on behind it), `limit`
-- @treturn table|nil  `items` (array of rows), `after` (where to go on; nil at the end), `total` (of all, whatever the
-- page); or nil, message, code
function Views:list(request)
  local collection, it, code = begin(self, request)
  if not collection then return nil, it, code end
  local prefix, keys = text_of(request.prefix), collection.keys(it)
  local first = first_from(keys, prefix)
  local last = prefix == "" and #keys or first_from(keys, prefix .. "\255") - 1
  local at = first
  if request.after then
    at = math.max(first, first_from(keys, text_of(request.after)))
    if keys[at] == request.after then at = at + 1 end
  end
  local limit = math.max(1, math.min(views.PAGE, math.tointeger(tonumber(request.limit)) or views.PAGE))
  local items = json.array()
  while at <= last and #items < limit do
    items[#items + 1] = collection.row(it, keys[at], true)
    at = at + 1
    self.pause()
  end
  return { items = items, after = at <= last and keys[at - 1] or nil, total = math.max(0, last - first + 1) }
end

--- One of a collection, whole.
-- @tparam table request  `what`, `key`
-- @treturn table|nil  nil alone: there is none; or nil, message, code
function Views:get(request)
  local collection, it, code = begin(self, request)
  if not collection then return nil, it, code end
  return (collection.whole or collection.row)(it, text_of(request.key))
end

--- How the keys of a collection go on, for completion.
-- @tparam table request  `what`, `prefix`; `stop`: only up to this character, each once (`"/"`: namespaces)
-- @treturn table|nil  array of at most NAMES texts; or nil, message, code
function Views:names(request)
  local collection, it, code = begin(self, request)
  if not collection then return nil, it, code end
  local prefix, stop, keys = text_of(request.prefix), text_of(request.stop), collection.keys(it)
  local names, at = json.array(), first_from(keys, prefix)
  while keys[at] and keys[at]:sub(1, #prefix) == prefix and #names < views.NAMES do
    local part = stop ~= "" and keys[at]:find(stop, 1, true)
    local name = part and keys[at]:sub(1, part - 1) or keys[at]
    names[#names + 1] = name
    at = part and first_from(keys, name .. string.char(stop:byte() + 1)) or at + 1
  end
  return names
end

--- @tparam Daemon daemon
-- @tparam function pause  gives the loop its turn when this one was long enough; inside tasks
-- @tparam[opt] table own  collections in the place of those here: name -> `{keys=, row=}`
function views.new(daemon, pause, own)
  return setmetatable({ daemon = daemon, pause = pause, source = snapshot.new(daemon, pause), own = own or {} }, Views)
end

return views
