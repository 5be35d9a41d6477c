--- Leader election by a Lease, with the semantics of Kubernetes clients (coordination.k8s.io/v1, client-go's
-- leaderelection): optimistic concurrency, and our own clock only. When another's Lease is over is told by how long we
-- have seen it unchanged, never by the time written in it. Those who wait do not poll: they watch the Lease.
-- @module moonlb.kube.lease
local async = require("moonlb.async")
local informer = require("moonlb.kube.informer")
local log = require("moonlb.core.log")
local recorder = require("moonlb.recorder")
local runtime = require("moonlb.core.runtime")

local lease = {}

local Election = { __name = "moonlb.kube.lease" }
Election.__index = Election

-- Any change of the Lease is a sign of life: its holder is given another full duration by our clock.
local function observe(self, object)
  local spec = type(object.spec) == "table" and object.spec or {}
  local holder = type(spec.holderIdentity) == "string" and spec.holderIdentity or ""
  local resource_version = object.metadata.resourceVersion
  if self.observed and self.observed.version == resource_version then return end
  if not self.observed or self.observed.holder ~= holder then
    log.info("leader", { lease = self.name, holder = holder })
  end
  self.observed = { holder = holder, version = resource_version, at = self.now(),
    duration = tonumber(spec.leaseDurationSeconds) or self.duration,
    transitions = math.tointeger(tonumber(spec.leaseTransitions)) or 0 }
  self.changed:notify()
end

--- Takes no part yet.
-- @tparam table options
--   `client`, `namespace`, `name`, `identity` (who we are), `on_start()` and `on_stop()` when leading begins and ends;
--   `duration` (15), `renew_deadline` (10), `retry` (2) seconds; `now` (boot time) and `random` for tests
-- @treturn Election
function lease.new(options)
  local collection = ("/apis/coordination.k8s.io/v1/namespaces/%s/leases"):format(options.namespace)
  local self = setmetatable({
    client = options.client, namespace = options.namespace, name = options.name, identity = options.identity,
    collection = collection, path = collection .. "/" .. options.name,
    on_start = options.on_start or function() end, on_stop = options.on_stop or function() end,
    duration = options.duration or 15, renew_deadline = options.renew_deadline or 10, retry = options.retry or 2,
    now = options.now or runtime.boottime, random = options.random or math.random,
    renewed_at = nil, -- when the renewal that holds was sent
    observed = nil, -- {holder, version, at, duration, transitions}
    changed = async.signal(),
  }, Election)
  self.store = informer.new({ client = options.client, path = collection, log_name = "lease " .. options.name,
    field_selector = "metadata.name=" .. options.name })
  self.store:on(function(_, object)
    if object and object.metadata.name == self.name then observe(self, object) end
  end)
  return self
end

--- A Kubernetes MicroTime: RFC 3339 in UTC with exactly six digits.
-- @tparam number walltime  seconds since 1970
-- @treturn string
function lease.micro_time(walltime)
  local seconds = math.floor(walltime)
  return os.date("!%Y-%m-%dT%H:%M:%S", seconds) .. (".%06dZ"):format(math.floor((walltime - seconds) * 1e6))
end

--- Whether we lead now: the renewal that holds was sent less than `renew_deadline` ago. Ask before each write.
-- @treturn boolean
function Election:leading()
  return self.renewed_at ~= nil and self.now() - self.renewed_at < self.renew_deadline
end

--- Who holds the Lease as far as we have seen; nil before the first look, "" when nobody.
function Election:holder()
  return self.observed and self.observed.holder
end

-- What a request of ours returned: an event that is older must not hide it.
local function learn(self, object)
  self.store:absorb(object)
  observe(self, object)
end

-- Held by another, who has been seen to renew within the Lease's duration.
local function is_taken(self)
  local seen = self.observed
  return seen.holder ~= "" and seen.holder ~= self.identity and self.now() - seen.at < seen.duration
end

local function spec_of(self, transitions, is_new_term)
  local time = lease.micro_time(runtime.walltime())
  return { holderIdentity = self.identity, leaseDurationSeconds = math.tointeger(self.duration) or self.duration,
    renewTime = time, acquireTime = is_new_term and time or nil, leaseTransitions = transitions }
end

local function create(self)
  return self.client:create(self.collection, {
    apiVersion = "coordination.k8s.io/v1", kind = "Lease",
    metadata = { name = self.name, namespace = self.namespace }, spec = spec_of(self, 0, true),
  })
end

-- The Lease as it is now, made by us when there is none. Returns true when that made us its holder.
local function look(self)
  local sent_at = self.now()
  local object, message, reason = self.client:get(self.path)
  local is_made = not object and reason == "NotFound"
  if is_made then object, message, reason = create(self) end
  if not object then return nil, message, reason end
  learn(self, object)
  if is_made then self.renewed_at = sent_at end
  return is_made
end

-- Write our name, or a new renewTime, over the version that we have seen.
local function claim(self)
  local sent_at, seen = self.now(), self.observed
  local is_new_term = seen.holder ~= self.identity
  local object, message, reason = self.client:merge_patch(self.path, {
    metadata = { resourceVersion = seen.version },
    spec = spec_of(self, seen.transitions + (is_new_term and 1 or 0), is_new_term),
  })
  if not object then return nil, message, reason end
  learn(self, object)
  self.renewed_at = sent_at
  return true
end

-- One attempt to take or renew. Returns true when we hold it; false when another does; nil, message, reason on trouble.
local function try(self)
  -- While we lead, what we wrote last is what there is: renew without reading.
  if self.renewed_at and self.observed and self.observed.holder == self.identity then
    local ok, message, reason = claim(self)
    if ok or (reason ~= "Conflict" and reason ~= "NotFound") then return ok, message, reason end
  end
  local is_made, message, reason = look(self)
  if is_made == nil then return nil, message, reason end
  if is_made then return true end
  if is_taken(self) then return false end
  return claim(self)
end

local function set_leading(self, is_leader)
  if self.was_leading == is_leader then return end
  self.was_leading = is_leader
  log.info(is_leader and "leading" or "not leading any more", { lease = self.name, identity = self.identity })
  recorder.note("leader", self.name, { is_leading = is_leader, identity = self.identity })
  if is_leader then self.on_start() else self.on_stop() end
end

-- Until the holder has not been seen to renew for the Lease's duration, or gave it back. Then a little longer, a random
-- time, so that those who wait do not come all at once.
local function wait_for_turn(self)
  while is_taken(self) and not self.is_stopped do
    local rest = self.observed.at + self.observed.duration - self.now()
    if select(3, self.changed:wait(math.max(0, rest))) == "ECANCELED" then return end
  end
  async.sleep(0.2 * self.retry * self.random())
end

local function run(self)
  while not self.is_stopped do
    local ok, message, reason = try(self)
    if ok == nil and message ~= self.error and not self.is_stopped then
      log.warn("leader election", { lease = self.name, error = message, reason = reason })
    end
    self.error, self.reason = ok == nil and message or nil, ok == nil and reason or nil
    if ok == false then self.renewed_at = nil end
    set_leading(self, self:leading())
    self.is_tried = true
    self.changed:notify()
    if ok == false and self.store:wait_synced(self.retry) then
      wait_for_turn(self)
    elseif ok ~= false then -- client-go's jitter for those who do not lead: up to 1.2 times the period
      async.sleep(self.was_leading and self.retry or self.retry * (1 + 0.2 * self.random()))
    end
  end
end

-- Leading ends when the deadline passes, also while a renewal hangs.
local function watch_deadline(self)
  if self.is_stopped then return end
  set_leading(self, self.was_leading and self:leading() or false)
  self.deadline_timer = async.timer(self.retry / 4, function() watch_deadline(self) end)
end

--- Begin to take part.
function Election:start()
  self.was_leading = false
  self.store:start()
  self.task = async.run(run, self)
  watch_deadline(self)
end

--- Wait, in a task, until the first attempt to lead has ended one way or the other.
-- @tparam number seconds  at the most
function Election:wait_tried(seconds)
  local deadline = self.now() + seconds
  while not self.is_tried and self.now() < deadline do
    if select(3, self.changed:wait(deadline - self.now())) == "ECANCELED" then return end
  end
end

-- Give the Lease back. A renewal that was cut off may have been carried out: then its version is another.
local function release(self)
  local function write()
    local time = lease.micro_time(runtime.walltime())
    return self.client:merge_patch(self.path, {
      metadata = { resourceVersion = self.observed.version },
      spec = { holderIdentity = "", leaseDurationSeconds = 1, acquireTime = time, renewTime = time },
    })
  end
  local ok, message, reason = write()
  if not ok and reason == "Conflict" then
    local object = self.client:get(self.path)
    if object then observe(self, object) end
    if self.observed.holder ~= self.identity then return end
    ok, message = write()
  end
  if not ok then log.warn("the Lease was not given back", { lease = self.name, error = message }) end
end

--- Stop, and give the Lease back so that another need not wait. In a task.
function Election:stop()
  if self.is_stopped then return end
  self.is_stopped = true
  self.store:stop()
  if self.deadline_timer then self.deadline_timer:stop() end
  if self.task then
    self.task:cancel()
    self.task:join()
  end
  local was_leading = self:leading()
  set_leading(self, false)
  self.renewed_at = nil
  if was_leading and self.observed then release(self) end
end

return lease
