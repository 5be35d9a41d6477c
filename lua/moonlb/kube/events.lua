--- Events on objects (core/v1 Event), as `kubectl describe` shows them.
--
-- Aggregated: the same words about the same object are one Event with a count. Limited: a burst for each object, then
-- one each few minutes; the queue is bounded, and its writes have the lowest priority. Nobody waits for an Event.
-- @module moonlb.kube.events
local async = require("moonlb.async")
local clean = require("moonlb.clean")
local log = require("moonlb.core.log")
local recorder = require("moonlb.recorder")
local runtime = require("moonlb.core.runtime")
local timestamp = require("moonlb.kube.timestamp")

local events = {}

local Recorder = { __name = "moonlb.kube.events" }
Recorder.__index = Recorder

local BURST = 25 -- Events on one object at once (client-go's event correlator)
local REFILL = 300 -- seconds until one more is allowed
local AGGREGATE = 600 -- seconds within which equal Events are counted, not created
-- Events that wait to be written. A Warning is the reason on a Service that waits: it goes last.
local QUEUE = { Normal = 1000, Warning = 20000 }
local TRIES, FIRST_PAUSE = 6, 1 -- of a write that met no answer; seconds, doubling
local REMEMBERED = 1024 -- Events, and objects, remembered for aggregation
-- Clocks that differ by more seconds are spoken of. An answer takes less, and times of the API are whole seconds.
local SKEW = 5
local MAX_MESSAGE = 1024 -- bytes (k8s.io/kubernetes, pkg/apis/core/validation/events.go: NoteLengthLimit)
local RECENT = 64 -- Events kept to be shown

--- A recorder that has said nothing yet.
-- @tparam table options  `client` (of low priority), `component` ("moonlb"), `host` (node name), `now`, `walltime`
-- @treturn Recorder  `counts`: {"type reason" = how often it was said}; `dropped`: how many were lost to the bounds, or
-- to a server that would not take them
function events.new(options)
  return setmetatable({
    client = options.client, component = options.component or "moonlb", host = options.host,
    now = options.now or runtime.boottime, walltime = options.walltime or runtime.walltime,
    known = {}, known_count = 0, budgets = {}, budget_count = 0,
    queue = {}, first = 1, last = 0, dropped = 0, sequence = 0,
    recent = {}, said = 0, counts = {}, by_object = {}, by_object_count = 0,
  }, Recorder)
end

local function reference(object)
  local metadata = object.metadata
  return { apiVersion = object.apiVersion or "v1", kind = object.kind or "Service", name = metadata.name,
    namespace = metadata.namespace, uid = metadata.uid, resourceVersion = metadata.resourceVersion }
end

-- A token bucket for each object, and for each repeated Event.
local function is_allowed(self, about)
  local now = self.now()
  local budget = self.budgets[about]
  if not budget then
    if self.budget_count >= REMEMBERED then self.budgets, self.budget_count = {}, 0 end
    budget = { tokens = BURST, at = now }
    self.budgets[about] = budget
    self.budget_count = self.budget_count + 1
  end
  budget.tokens = math.min(BURST, budget.tokens + (now - budget.at) / REFILL)
  budget.at = now
  if budget.tokens < 1 then return false end
  budget.tokens = budget.tokens - 1
  return true
end

local function collection(namespace) return ("/api/v1/namespaces/%s/events"):format(namespace) end

-- The server writes its own time into what it creates: how far this clock is ahead of it. Nothing here depends on
-- clocks that agree but what people read (ages, when a lease or a quarantine ends).
local function compare_clocks(self, object)
  local theirs = timestamp.seconds(type(object.metadata) == "table" and object.metadata.creationTimestamp)
  if not theirs then return end
  self.skew = self.walltime() - theirs
  local is_skewed = math.abs(self.skew) > SKEW
  if is_skewed and not self.is_skewed then
    log.warn("this node's clock and the API server's differ: times that people read are wrong by that", {
      seconds = ("%.0f"):format(self.skew) })
  end
  self.is_skewed = is_skewed
end

local function create(self, entry)
  self.sequence = self.sequence + 1
  local involved = entry.involved
  local namespace = involved.namespace or "default"
  local stamp = math.floor(self.walltime() * 1e6)
  local name = ("%s.%x%04x"):format(involved.name:sub(1, 200), stamp, self.sequence & 0xffff)
  local time = timestamp.format(entry.time)
  local object, message, reason, status = self.client:create(collection(namespace), {
    apiVersion = "v1", kind = "Event", metadata = { name = name, namespace = namespace },
    involvedObject = involved, type = entry.type, reason = entry.reason, message = entry.message, count = entry.count,
    firstTimestamp = time, lastTimestamp = time, source = { component = self.component, host = self.host },
    reportingComponent = self.component, reportingInstance = self.host,
  })
  -- AlreadyExists: libcurl sent it twice, over a connection that had been closed.
  if not object and reason ~= "AlreadyExists" then return nil, message, reason, status end
  if object then compare_clocks(self, object) end
  entry.path = collection(namespace) .. "/" .. name
  return true
end

local function count_up(self, entry)
  local object, message, reason, status = self.client:merge_patch(entry.path, { count = entry.count,
    lastTimestamp = timestamp.format(entry.time) })
  if object then return true end
  if reason ~= "NotFound" then return nil, message, reason, status end
  entry.path = nil -- the API forgets Events after an hour
  return create(self, entry)
end

-- No answer, or one of a server in trouble: it may be better in a moment.
local function is_passing(status)
  return not status or status == 429 or status >= 500
end

local function write(self, entry)
  entry.is_queued = false
  local pause = FIRST_PAUSE
  for try = 1, TRIES do
    local act = entry.path and count_up or create
    local ok, message, reason, status = act(self, entry)
    if ok then
      self.error = nil
      return
    end
    if message ~= self.error then
      log.warn("an Event was not written", { object = entry.involved.name, event = entry.reason, error = message,
        reason = reason })
    end
    self.error = message
    if try == TRIES or not is_passing(status) or self.is_stopping or not async.sleep(pause) then break end
    pause = 2 * pause
  end
  self.dropped = self.dropped + 1
end

local function run(self)
  while self.first <= self.last and not self.is_stopped do
    local entry = self.queue[self.first]
    self.queue[self.first] = nil
    self.first = self.first + 1
    write(self, entry)
  end
  self.is_running = false
end

local function enqueue(self, entry)
  if entry.is_queued then return end
  if self.last - self.first + 1 >= QUEUE[entry.type] then
    self.dropped = self.dropped + 1
    return
  end
  entry.is_queued = true
  self.last = self.last + 1
  self.queue[self.last] = entry
  if not self.is_running then
    self.is_running = true
    async.run(run, self)
  end
end

local function remember(self, identity, entry)
  if self.known_count >= REMEMBERED then self.known, self.known_count = {}, 0 end
  self.known[identity] = entry
  self.known_count = self.known_count + 1
end

local function object_key(involved)
  return ("%s %s/%s"):format(involved.kind, involved.namespace or "", involved.name)
end

-- Kept to be shown: a ring of the latest, and the last one of each object.
local function keep(self, entry)
  local key = object_key(entry.involved)
  if not self.by_object[key] then
    if self.by_object_count >= REMEMBERED then self.by_object, self.by_object_count = {}, 0 end
    self.by_object_count = self.by_object_count + 1
  end
  self.by_object[key] = entry
  if entry.place and self.recent[entry.place % RECENT] == entry then self.recent[entry.place % RECENT] = false end
  self.said = self.said + 1
  entry.place = self.said
  self.recent[self.said % RECENT] = entry
end

--- The last Event of this process about an object.
-- @tparam string kind
-- @tparam string key  `namespace/name`
-- @treturn table|nil  `{type=, reason=, message=, time= seconds since 1970, count=, involved=}`, to be read only
function Recorder:about(kind, key)
  return self.by_object[kind .. " " .. key]
end

--- The latest Events of this process, the newest first; one that was said again stands where it was said last.
-- @tparam integer limit
-- @treturn table  array, see `about`
function Recorder:latest(limit)
  local list = {}
  for place = self.said, math.max(1, self.said - RECENT + 1), -1 do
    local entry = self.recent[place % RECENT]
    if entry and #list < limit then list[#list + 1] = entry end
  end
  return list
end

--- Say something of an object. Returns at once.
-- @tparam table object  with metadata; `kind` and `apiVersion` where it is no Service (list items carry neither)
-- @tparam string type  "Normal" or "Warning"
-- @tparam string reason  CamelCase, such as "AddressAssigned"
-- @tparam string message  a sentence; one line of it, cut at the API's limit
function Recorder:emit(object, type, reason, message)
  if self.is_stopped then return end
  message = clean.line(message, MAX_MESSAGE, "...")
  local involved = reference(object)
  local about = tostring(involved.uid or involved.name)
  log.info("event", { object = (involved.namespace or "") .. "/" .. involved.name, type = type, reason = reason,
    message = message })
  self.counts[type .. " " .. reason] = (self.counts[type .. " " .. reason] or 0) + 1
  recorder.note("event", (involved.namespace or "") .. "/" .. involved.name, { type = type, reason = reason,
    message = message })
  local identity = table.concat({ about, type, reason, message }, "\0")
  local entry = self.known[identity]
  local now = self.now()
  local is_repeated = entry and now - entry.last_at < AGGREGATE
  if is_repeated then entry.count = entry.count + 1 end
  -- Repetitions have a budget of their own, so that they use up nothing of what is new.
  if not is_allowed(self, is_repeated and identity or about) then
    self.dropped = self.dropped + (is_repeated and 0 or 1)
    return
  end
  if not is_repeated then
    entry = { involved = involved, type = type, reason = reason, message = message, count = 1 }
    remember(self, identity, entry)
  end
  entry.time, entry.last_at = self.walltime(), now
  keep(self, entry)
  enqueue(self, entry)
end

--- Write what waits, for some seconds at the most, and stop. In a task.
-- @tparam number seconds
function Recorder:stop(seconds)
  self.is_stopping = true
  local deadline = self.now() + (seconds or 1)
  while self.is_running and self.now() < deadline do async.sleep(0.01) end
  self.is_stopped = true
end

return events
