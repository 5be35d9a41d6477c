--- Leader election by a Lease, with the semantics of Kubernetes clients (coordination.k8s.io/v1, client-go's
-- leaderelection): optimistic concurrency, and our own clock only. When another's Lease is over is told by how long we
-- have seen it unchanged, never by the time written in it.
-- @module moonlb.kube.lease
local async = require("moonlb.async")
local log = require("moonlb.core.log")
local null = require("cjson").null
local runtime = require("moonlb.core.runtime")

local lease = {}

local Election = { __name = "moonlb.kube.lease" }
Election.__index = Election

--- @tparam table options
--   `client`, `namespace`, `name`, `identity` (who we are), `on_start()` and `on_stop()` when leading begins and ends;
--   `duration` (15), `renew_deadline` (10), `retry` (2) seconds; `now` (boot time) and `random` for tests
-- @treturn Election
function lease.new(options)
  local collection = ("/apis/coordination.k8s.io/v1/namespaces/%s/leases"):format(options.namespace)
  return setmetatable({
    client = options.client, namespace = options.namespace, name = options.name, identity = options.identity,
    collection = collection, path = collection .. "/" .. options.name,
    on_start = options.on_start or function() end, on_stop = options.on_stop or function() end,
    duration = options.duration or 15, renew_deadline = options.renew_deadline or 10, retry = options.retry or 2,
    now = options.now or runtime.boottime, random = options.random or math.random,
    renewed_at = nil, -- when the renewal that holds was sent
    observed = nil, -- {holder, version, at, duration, transitions}
  }, Election)
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

local function observe(self, object)
  local spec = type(object.spec) == "table" and object.spec or {}
  local holder = type(spec.holderIdentity) == "string" and spec.holderIdentity or ""
  local resource_version = object.metadata.resourceVersion
  if not self.observed or self.observed.version ~= resource_version then
    if self:holder() ~= holder then log.info("leader", { lease = self.name, holder = holder }) end
    self.observed = { holder = holder, version = resource_version, at = self.now(),
      duration = tonumber(spec.leaseDurationSeconds) or self.duration,
      transitions = math.tointeger(tonumber(spec.leaseTransitions)) or 0 }
  end
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

-- One attempt to take or renew. Returns true when we hold it; false when another does; nil, message on trouble.
local function try(self)
  local sent_at = self.now()
  local seen = self.observed
  -- While we lead, what we wrote last is what there is: renew without reading; a conflict makes us read.
  if not seen or seen.holder ~= self.identity or not self.renewed_at then
    local object, message, reason = self.client:get(self.path)
    if not object and reason ~= "NotFound" then return nil, message, reason end
    if not object then
      object, message, reason = create(self)
      if not object then return nil, message, reason end
      observe(self, object)
      self.renewed_at = sent_at
      return true
    end
    observe(self, object)
    if is_taken(self) then return false end
    seen = self.observed
  end
  local is_new_term = seen.holder ~= self.identity
  local object, message, reason = self.client:merge_patch(self.path, {
    metadata = { resourceVersion = seen.version },
    spec = spec_of(self, seen.transitions + (is_new_term and 1 or 0), is_new_term),
  })
  if not object then
    if reason == "Conflict" or reason == "NotFound" then self.observed = nil end
    return nil, message, reason
  end
  observe(self, object)
  self.renewed_at = sent_at
  return true
end

local function set_leading(self, is_leader)
  if self.was_leading == is_leader then return end
  self.was_leading = is_leader
  log.info(is_leader and "leading" or "not leading any more", { lease = self.name, identity = self.identity })
  if is_leader then self.on_start() else self.on_stop() end
end

local function run(self)
  while not self.is_stopped do
    local ok, message, reason = try(self)
    if ok == nil and message ~= self.error and not self.is_stopped then
      log.warn("leader election", { lease = self.name, error = message, reason = reason })
    end
    self.error = ok == nil and message or nil
    if ok == false then self.renewed_at = nil end
    set_leading(self, self:leading())
    -- client-go's jitter: up to 1.2 times the period for those who wait, so that they do not come all at once.
    async.sleep(self.was_leading and self.retry or self.retry * (1 + 0.2 * self.random()))
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
  self.task = async.run(run, self)
  watch_deadline(self)
end

--- Stop, and give the Lease back so that another need not wait. In a task.
function Election:stop()
  if self.is_stopped then return end
  self.is_stopped = true
  if self.deadline_timer then self.deadline_timer:stop() end
  if self.task then
    self.task:cancel()
    self.task:join()
  end
  local was_leading = self:leading()
  set_leading(self, false)
  self.renewed_at = nil
  if was_leading and self.observed then
    local ok, message = self.client:merge_patch(self.path, {
      metadata = { resourceVersion = self.observed.version },
      spec = { holderIdentity = "", leaseDurationSeconds = 1, acquireTime = null,
        renewTime = lease.micro_time(runtime.walltime()) },
    })
    if not ok then log.warn("the Lease was not given back", { lease = self.name, error = message }) end
  end
end

return lease
