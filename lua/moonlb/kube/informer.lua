--- A collection of the API as it is now: listed in pages, then followed by a watch; what changed goes to handlers.
--
-- Nothing is polled. A watch that ends is continued; 410 lists again and emits the difference, so that a deletion in
-- the gap is seen; a watch that has not shown our own write within 30 s is dead and replaced.
-- @module moonlb.kube.informer
local async = require("moonlb.async")
local log = require("moonlb.core.log")
local memory = require("moonlb.memory")
local runtime = require("moonlb.core.runtime")
local version = require("moonlb.kube.version")

local informer = {}

local Informer = { __name = "moonlb.kube.informer" }
Informer.__index = Informer

-- The server ends a watch after a random time in between; seconds.
local SHORTEST_WATCH, LONGEST_WATCH = 290, 590
-- A server that sends bookmarks sends one a minute: a watch without a byte for so many seconds shows nothing any more.
-- What it may have missed is listed, and until that is done the view counts as old (`error`).
local SILENT_AFTER = 90
-- Our own write must show within this many seconds.
local DEAD_AFTER = 30
-- The pause after failures: doubling from the first to the second; seconds.
local FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30
-- A watch that lived so many seconds was a good one: the next failure is a first.
local GOOD_WATCH = 10
-- Objects of a list that are taken in one turn of the loop.
local OBJECTS_PER_TURN = 50
-- After the first list of so many objects, freed memory goes back to the kernel.
local MANY = 1000

-- Ends of a watch after which only a list tells what is: its version is forgotten, or an event cannot be read.
local LIST_AFTER = { Expired = true, Gone = true, EMSGSIZE = true, EBADMSG = true, Silent = true }
-- The reason of a watch that went silent: what it should have shown may be much.
local SILENT = "Silent"

--- `namespace/name`, or `name` of an object without a namespace.
-- @tparam table object
-- @treturn string
function informer.key(object)
  local metadata = object.metadata
  return metadata.namespace and metadata.namespace .. "/" .. metadata.name or metadata.name
end

--- A store that follows nothing yet.
-- @tparam table options  `client` (moonlb.kube.client), `path` (a collection), `label_selector`, `field_selector`,
--   `project(object)` what is kept of it (all; it must keep metadata.name, .namespace and .resourceVersion),
--   `log_name`, `dead_after` seconds for tests
-- @treturn Informer  `synced`, `count`, `resource_version`, `error` and `reason` (the present trouble, or nil),
--   `restarts` (watches that ended and were begun again), `lists`, `list_began` (boot time at which the last whole list
--   began)
function informer.new(options)
  return setmetatable({
    client = options.client, path = options.path, project = options.project or function(object) return object end,
    selectors = { label_selector = options.label_selector, field_selector = options.field_selector },
    name = options.log_name or options.path, dead_after = options.dead_after or DEAD_AFTER,
    store = {}, handlers = {}, count = 0, restarts = 0, lists = 0, failures = 0, silences = 0, synced = false,
    resource_version = nil, -- up to here the watch has shown everything
    known_version = nil, -- up to here the store is complete: the watch's version, or that of a list beside it
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

local function not_newer(a, b)
  return a == b or version.older(a, b)
end

-- An older event never replaces a newer object: our own write's answer may come before its event. Nor does it bring
-- back one that is gone: what is not in the store, and no newer than what the store knows, was deleted.
local function upsert(self, object)
  if not is_object(object) then return end
  local key, new_version = informer.key(object), object.metadata.resourceVersion
  local old = self.store[key]
  if not_newer(new_version, old and old.metadata.resourceVersion or self.known_version) then return end
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

local function stop_dead_timer(self)
  if self.dead_timer then self.dead_timer:stop() end
  self.dead_timer = nil
end

-- The watch must show `expected` in time.
local function start_dead_timer(self)
  self.dead_timer = self.dead_timer or async.timer(self.dead_after, function()
    self.dead_timer = nil
    if self.restart_watch then self.restart_watch({ message = "the watch does not show our own write",
      code = "ETIMEDOUT", is_silence = true }) end
  end)
end

local function knows(self, resource_version)
  if version.older(resource_version, self.known_version) then return end
  self.known_version = resource_version
end

-- The watch showed this version: our own write up to it is seen.
local function saw(self, resource_version)
  if type(resource_version) ~= "string" then return end
  self.resource_version = resource_version
  knows(self, resource_version)
  if self.expected and not version.older(resource_version, self.expected) then
    self.expected, self.silences = nil, 0
    stop_dead_timer(self)
  end
end

-- The server's history is behind ours: it was restored from a backup. Nothing that we know of versions holds.
local function begin_anew(self)
  log.warn("the API server went back in time: reading everything anew", { informer = self.name })
  self.known_version, self.resource_version, self.expected = nil, nil, nil
  stop_dead_timer(self)
  local keys = {}
  for key in pairs(self.store) do keys[#keys + 1] = key end
  for _, key in ipairs(keys) do remove(self, key) end
end

-- Take a page's objects, a few in a turn of the loop. False when the task was cancelled meanwhile.
local function take_page(self, items, seen)
  for i, object in ipairs(items) do
    -- Also before the first: decoding the page took its share of this turn.
    if i % OBJECTS_PER_TURN == 1 and not async.sleep(0) then return false end
    if is_object(object) then
      seen[informer.key(object)] = true
      upsert(self, object)
    end
  end
  return true
end

-- List everything; what was known and is not in the list any more is gone, unless it is newer than the list. Beside
-- a watch, the watch goes on from where it was.
local function list(self, is_beside_watch)
  local seen, is_first, is_whole = {}, true, true
  local before, began = self.resource_version, runtime.boottime()
  local listed, message, reason = self.client:list(self.path, self.selectors, function(items, page_version)
    if is_first and version.older(page_version, before) then begin_anew(self) end
    is_first = false
    is_whole = take_page(self, items, seen) and is_whole
  end)
  if not listed then return nil, message, reason end
  if not is_whole then return nil, "cancelled", "ECANCELED" end
  self.lists, self.list_began = self.lists + 1, began
  local gone = {}
  for key, object in pairs(self.store) do
    if not seen[key] and not version.older(listed, object.metadata.resourceVersion) then gone[#gone + 1] = key end
  end
  for _, key in ipairs(gone) do remove(self, key) end
  if is_beside_watch then knows(self, listed) else saw(self, listed) end
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
    start_dead_timer(self)
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

local function recovered(self)
  if self.error then log.info("following the API again", { informer = self.name }) end
  self.error, self.reason = nil, nil
end

local function on_event(self, kind, object)
  local metadata = type(object.metadata) == "table" and object.metadata or {}
  recovered(self)
  self.has_bookmarks = self.has_bookmarks or kind == "BOOKMARK"
  if kind == "DELETED" and is_object(object) then
    local key = informer.key(object)
    local known = self.store[key]
    if known and not version.older(metadata.resourceVersion, known.metadata.resourceVersion) then remove(self, key) end
  elseif kind == "ADDED" or kind == "MODIFIED" then
    upsert(self, object)
  end
  saw(self, metadata.resourceVersion)
end

-- A watch begun after a failure shows nothing while nothing changes: that the API answers is asked for once, with the
-- smallest list there is. Without it a quiet cluster would count this view as old until the next bookmark.
local function confirm(self)
  local watch = self.restart_watch
  async.run(function()
    local answer = self.client:get(self.path .. "?limit=1")
    if answer and watch and self.restart_watch == watch then recovered(self) end
  end)
end

-- Follow until the watch ends. Returns true for a clean end; nil, message, reason, the error.
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
      idle = self.has_bookmarks and SILENT_AFTER or nil,
      label_selector = self.selectors.label_selector, field_selector = self.selectors.field_selector,
    }, function(kind, object) on_event(self, kind, object) end, on_end)
    if not handle then return on_end({ message = tostring(start_error), code = "EAGAIN" }) end
    if self.expected then start_dead_timer(self) end
    if self.error then confirm(self) end
    return function() handle:close() end
  end)
  self.restart_watch = nil
  if err == false then return true end
  if not err then return nil, "cancelled", "ECANCELED" end
  return nil, err.message, err.code, err
end

-- Say what is wrong, once, and pause: doubling with each failure in a row, and never shorter than the server asks.
local function trouble(self, message, reason, retry_after)
  if self.error ~= message then
    log.warn("cannot follow the API", { informer = self.name, error = message, reason = reason })
  end
  self.error, self.reason = message, reason
  self.failures = self.failures + 1
  local pause = math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ^ math.min(self.failures - 1, 20))
  pause = pause * (0.5 + math.random() / 2)
  return async.sleep(math.max(pause, math.min(retry_after or 0, LONGEST_PAUSE)))
end

local function list_once(self)
  local ok, message, reason = list(self)
  if not ok then return nil, message, reason end
  recovered(self)
  self.failures = 0
  if not self.synced then
    self.synced = true
    if self.count > MANY then async.run(memory.settle) end
    self.sync_signal:notify()
  end
  return true
end

-- A watch that ends as soon as it begins, however cleanly, must not become a busy loop.
local function follow_once(self)
  local began = runtime.boottime()
  local ok, message, reason, err = follow(self)
  local lived = runtime.boottime() - began
  self.restarts = self.restarts + 1
  if lived >= GOOD_WATCH then self.failures = 0 end
  if ok and lived < 1 then return nil, "the watch ended at once", "EPROTO" end
  if ok then recovered(self) end
  if err and err.is_silence then
    self.silences = self.silences + 1
  elseif reason == "ETIMEDOUT" then
    reason = SILENT
  end
  return ok, message, reason, err and err.retry_after
end

local function run(self)
  local needs_list = true
  while not self.is_stopped do
    local ok, message, reason, retry_after
    if needs_list then
      ok, message, reason = list_once(self)
      needs_list = not ok
    else
      ok, message, reason, retry_after = follow_once(self)
      -- A second watch in a row that does not show our write: what it begins from is no good.
      needs_list = LIST_AFTER[reason] or self.silences > 1
      if needs_list then self.silences = 0 end
    end
    if not ok and not self.is_stopped then trouble(self, message, reason, retry_after) end
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
  stop_dead_timer(self)
  if self.task then self.task:cancel() end
end

return informer
