--- A collection of the API as it is now: listed in pages, then followed by a watch; what changed goes to handlers.
--
-- Nothing is polled. A watch that ends is continued; 410 lists again and emits the difference, so that a deletion in
-- the gap is seen; a watch that has not shown our own write within 30 s is dead and replaced.
-- @module moonlb.kube.informer
local async = require("moonlb.async")
local log = require("moonlb.core.log")
local runtime = require("moonlb.core.runtime")
local version = require("moonlb.kube.version")

local informer = {}

local Informer = { __name = "moonlb.kube.informer" }
Informer.__index = Informer

-- The server ends a watch after a random time in between; seconds.
local SHORTEST_WATCH, LONGEST_WATCH = 290, 590
-- Our own write must show within this many seconds.
local DEAD_AFTER = 30
-- The pause after failures: doubling from the first to the second; seconds.
local FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30
-- After the first list of so many objects, freed memory goes back to the kernel.
local MANY = 1000

--- `namespace/name`, or `name` of an object without a namespace.
-- @tparam table object
-- @treturn string
function informer.key(object)
  local metadata = object.metadata
  return metadata.namespace and metadata.namespace .. "/" .. metadata.name or metadata.name
end

--- @tparam table options  `client` (moonlb.kube.client), `path` (a collection), `label_selector`, `field_selector`,
--   `project(object)` what is kept of it (all; it must keep metadata.name, .namespace and .resourceVersion),
--   `log_name`, `dead_after` seconds for tests
-- @treturn Informer  `synced`, `count`, `resource_version`, `error` (the present trouble, or nil), `restarts`
function informer.new(options)
  return setmetatable({
    client = options.client, path = options.path, project = options.project or function(object) return object end,
    selectors = { label_selector = options.label_selector, field_selector = options.field_selector },
    name = options.log_name or options.path, dead_after = options.dead_after or DEAD_AFTER,
    store = {}, handlers = {}, count = 0, restarts = 0, failures = 0, synced = false,
    sync_signal = async.signal(),
  }, Informer)
end

--- Call `fn(key, new, old)` for each change: new is nil for a deletion, old is nil for a new object.
function Informer:on(fn)
  self.handlers[#self.handlers + 1] = fn
end

--- The object, or nil.
function Informer:get(key)
  return self.store[key]
end

--- Iterate over key and object.
function Informer:each()
  return pairs(self.store)
end

local function emit(self, key, new, old)
  for _, handler in ipairs(self.handlers) do
    local ok, err = xpcall(handler, debug.traceback, key, new, old)
    if not ok then log.error("handler raised", { informer = self.name, key = key, error = err }) end
  end
end

local function is_object(object)
  return type(object.metadata) == "table" and type(object.metadata.name) == "string"
end

-- An older event never replaces a newer object: our own write's answer may come before its event.
local function upsert(self, object)
  if not is_object(object) then return end
  local key = informer.key(object)
  local old = self.store[key]
  local old_version = old and old.metadata.resourceVersion
  if old and (old_version == object.metadata.resourceVersion or
      version.older(object.metadata.resourceVersion, old_version)) then
    return
  end
  local new = self.project(object)
  self.store[key] = new
  if not old then self.count = self.count + 1 end
  emit(self, key, new, old)
end

local function remove(self, key)
  local old = self.store[key]
  if not old then return end
  self.store[key] = nil
  self.count = self.count - 1
  emit(self, key, nil, old)
end

-- The watch showed this version: our own write up to it is seen.
local function saw(self, resource_version)
  if not resource_version then return end
  self.resource_version = resource_version
  if self.expected and not version.older(resource_version, self.expected) then
    self.expected = nil
    if self.dead_timer then
      self.dead_timer:stop()
      self.dead_timer = nil
    end
  end
end

-- List everything; what was known and is not in the list any more is gone, unless it is newer than the list. Beside
-- a watch, the watch goes on from where it was.
local function list(self, is_beside_watch)
  local seen = {}
  local resource_version, message, reason = self.client:list(self.path, self.selectors, function(items)
    for _, object in ipairs(items) do
      if is_object(object) then
        seen[informer.key(object)] = true
        upsert(self, object)
      end
    end
  end)
  if not resource_version then return nil, message, reason end
  local gone = {}
  for key, object in pairs(self.store) do
    if not seen[key] and not version.older(resource_version, object.metadata.resourceVersion) then
      gone[#gone + 1] = key
    end
  end
  for _, key in ipairs(gone) do remove(self, key) end
  if not is_beside_watch then saw(self, resource_version) end
  return true
end

--- What our own write returned: the store has it at once, and the watch must show it within 30 s.
-- @tparam table object  as the API returned it
function Informer:absorb(object)
  if not is_object(object) then return end
  upsert(self, object)
  local written = object.metadata.resourceVersion
  if version.older(self.resource_version, written) and not version.older(written, self.expected) then
    self.expected = written
    self.dead_timer = self.dead_timer or async.timer(self.dead_after, function()
      self.dead_timer = nil
      if self.expected and self.restart_watch then
        log.warn("the watch does not show our own write: replacing it", { informer = self.name })
        self.restart_watch({ message = "the watch is silent", code = "ETIMEDOUT" })
      end
    end)
  end
end

--- List anew while following: after it the store is at least as new as this moment. In a task.
-- @treturn boolean  true; or nil, message, reason
function Informer:refresh()
  return list(self, true)
end

--- The object is gone, as an answer 404 to our own request said.
function Informer:forget(key)
  remove(self, key)
end

local function on_event(self, type, object)
  local metadata = object.metadata
  if type == "DELETED" then
    if is_object(object) then
      local key = informer.key(object)
      local known = self.store[key]
      local is_older = known and version.older(metadata.resourceVersion, known.metadata.resourceVersion)
      if not is_older then remove(self, key) end
    end
  elseif type == "ADDED" or type == "MODIFIED" then
    upsert(self, object)
  end
  saw(self, _G.type(metadata) == "table" and metadata.resourceVersion)
  self.failures = 0
end

-- Follow until the watch ends. Returns true for a clean end; nil, message, reason.
local function follow(self)
  local handle
  local err = async.await(function(resume)
    local function on_end(failure) resume(failure or false) end
    self.restart_watch = function(failure)
      handle:close()
      on_end(failure)
    end
    local start_error
    handle, start_error = self.client:watch(self.path, {
      resource_version = self.resource_version, timeout = math.random(SHORTEST_WATCH, LONGEST_WATCH),
      label_selector = self.selectors.label_selector, field_selector = self.selectors.field_selector,
    }, function(type, object) on_event(self, type, object) end, on_end)
    if not handle then on_end({ message = tostring(start_error), code = "EAGAIN" }) end
    return function() if handle then handle:close() end end
  end)
  self.restart_watch = nil
  if not err then return true end
  return nil, err.message, err.code
end

-- Say what is wrong, once, and pause: doubling with each failure in a row.
local function trouble(self, message, reason)
  if self.error ~= message then
    log.warn("cannot follow the API", { informer = self.name, error = message, reason = reason })
  end
  self.error = message
  self.failures = self.failures + 1
  local pause = math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ^ math.min(self.failures - 1, 20))
  return async.sleep(pause * (0.5 + math.random() / 2))
end

local function recovered(self)
  if self.error then log.info("following the API again", { informer = self.name }) end
  self.error = nil
end

local function list_once(self)
  local ok, message, reason = list(self)
  if not ok then return nil, message, reason end
  recovered(self)
  if not self.synced then
    self.synced = true
    if self.count > MANY then runtime.trim() end
    self.sync_signal:notify()
  end
  return true
end

-- A watch that ends as soon as it begins, however cleanly, must not become a busy loop.
local function follow_once(self)
  local began = runtime.boottime()
  local ok, message, reason = follow(self)
  self.restarts = self.restarts + 1
  if ok and runtime.boottime() - began < 1 then return nil, "the watch ended at once", "EPROTO" end
  return ok, message, reason
end

local function run(self)
  local needs_list = true
  while not self.is_stopped do
    local ok, message, reason
    if needs_list then
      ok, message, reason = list_once(self)
      needs_list = not ok
    else
      ok, message, reason = follow_once(self)
      needs_list = reason == "Expired" or reason == "Gone"
    end
    if not ok and not self.is_stopped then trouble(self, message, reason) end
  end
end

--- Begin to list and follow.
function Informer:start()
  self.task = async.run(run, self)
  self.task.name = "informer " .. self.name
end

--- Wait, in a task, until the first list is complete.
-- @tparam[opt] number seconds
-- @treturn boolean  true; or nil, message, code
function Informer:wait_synced(seconds)
  if self.synced then return true end
  return self.sync_signal:wait(seconds)
end

--- Stop following; the store stays as it is.
function Informer:stop()
  self.is_stopped = true
  if self.dead_timer then self.dead_timer:stop() end
  self.dead_timer = nil
  if self.task then self.task:cancel() end
end

return informer
