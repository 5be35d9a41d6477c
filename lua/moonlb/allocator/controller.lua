--- The allocator in a cluster: feeds the engine what the API shows and, while it leads, carries out what that says.
--
-- Every replica follows the API; one leads. A new leader lists the Services once more before it writes, and each write
-- asks the election again. What is allocated is what the Services say: there is no state of our own to lose.
-- @module moonlb.allocator.controller
local async = require("moonlb.async")
local engine = require("moonlb.allocator.engine")
local informer = require("moonlb.kube.informer")
local lease = require("moonlb.kube.lease")
local log = require("moonlb.core.log")
local memory = require("moonlb.memory")
local overwrites = require("moonlb.allocator.overwrites")
local recorder = require("moonlb.recorder")
local runtime = require("moonlb.core.runtime")
local workqueue = require("moonlb.kube.workqueue")
local writer = require("moonlb.allocator.writer")

local controller = {}

local Controller = { __name = "moonlb.allocator.controller" }
Controller.__index = Controller

--- The manager's name under which the API server records our writes: the first word of our user agent.
controller.MANAGER = "moonlb"

-- Seconds that the announcers have to withdraw the addresses of a deleted Service, before the finalizer goes.
local WITHDRAWAL = 1
-- Seconds between tries of a new leader to list the Services, and between looks whether all else is known.
local LIST_AGAIN, LOOK_AGAIN = 1, 0.02
-- Seconds until a Service that waits is tried again: whose policy failed; whose policy asked outside.
local POLICY_AGAIN, OUTSIDE_AGAIN = 10, 30
-- Addresses are probed ahead of time for so many pools at most; changes of so many seconds are looked at together.
local POOLS_AHEAD, PROBE_SOON = 32, 0.02
-- After so many writes, when no more wait, memory is given back.
local BURST = 1000
-- Seconds that a stop waits for writes under way.
local LAST_WRITES = 3

local function project_configmap(object)
  return { kind = "ConfigMap", apiVersion = "v1", metadata = object.metadata, data = object.data }
end

local function project_node(object)
  local metadata, status = object.metadata, object.status
  return {
    metadata = { name = metadata.name, uid = metadata.uid, resourceVersion = metadata.resourceVersion,
      labels = metadata.labels, annotations = metadata.annotations, deletionTimestamp = metadata.deletionTimestamp },
    spec = type(object.spec) == "table" and { unschedulable = object.spec.unschedulable, taints = object.spec.taints }
      or nil,
    status = type(status) == "table" and { addresses = status.addresses } or nil,
  }
end

local function open_informers(self, settings)
  self.configmaps = informer.new({ client = self.client, log_name = "configmaps", project = project_configmap,
    path = ("/api/v1/namespaces/%s/configmaps"):format(settings.configmap_namespace),
    field_selector = "metadata.name=" .. settings.configmap })
  self.nodes = informer.new({ client = self.client, log_name = "nodes", path = "/api/v1/nodes",
    project = project_node })
end

-- The engine knows the ConfigMap by its key, and by `self` which addresses were probed.
local function new_engine(self, options, configmap_key)
  return engine.new({ now = runtime.boottime, utc = runtime.walltime, host = options.host,
    settings = setmetatable({ configmap = configmap_key,
      is_probed = function(item) return self.prober ~= nil and self.prober:is_free(item) end },
      { __index = options.settings }) })
end

--- @tparam table options  `client` (moonlb.kube.client), `election_client` (the same without repetitions), `services`
--   (informer, started by the caller), `events` (recorder), `identity` (unique to this process), `host`
--   (moonlb.policy.host, or nil), `policies` (moonlb.policy.store over the same host, or nil), `settings`: those of
--   moonlb.allocator.engine, `configmap`, `configmap_namespace`, `lease_name`, `lease_duration`,
--   `lease_renew_deadline`, `lease_retry`
-- @treturn Controller  `counts`: action -> decisions carried out (for `pending`: told)
function controller.new(options)
  local settings = options.settings
  local configmap_key = settings.configmap_namespace .. "/" .. settings.configmap
  local self = setmetatable({
    client = options.client, services = options.services, events = options.events,
    configmap_key = configmap_key,
    overwrites = overwrites.new({ now = runtime.boottime }), counts = {}, refusals = {},
    held_events = {}, failures = {}, noted = {}, excluded = {}, leaving = {},
    policies = options.policies, is_active = false, term = 0, written = 0,
  }, Controller)
  self.engine = new_engine(self, options, configmap_key)
  if self.policies then self.policies:attach(self.engine) end
  open_informers(self, settings)
  self.queue = workqueue.new({ name = "allocator", reconcile = function(key) return self:reconcile(key) end })
  self.writer = writer.new({ client = self.client, engine = self.engine, services = self.services,
    may_write = function() return self:leading() end,
    on_written = function(key, decision, object) self:on_written(key, decision, object) end })
  self.election = lease.new({ client = options.election_client or options.client, identity = options.identity,
    namespace = settings.configmap_namespace, name = settings.lease_name or "moonlb-allocator",
    duration = settings.lease_duration, renew_deadline = settings.lease_renew_deadline, retry = settings.lease_retry,
    on_start = function() self:lead() end, on_stop = function() self:follow() end })
  return self
end

--- Begin to follow the API and to take part in the election.
function Controller:start()
  self.services:on(function(key, new) self:on_service(key, new) end)
  self.configmaps:on(function(key, new) if key == self.configmap_key then self:on_configmap(new) end end)
  self.nodes:on(function(name, new) self:on_node(name, new) end)
  for key, object in self.services:each() do self:on_service(key, object) end
  self.configmaps:start()
  self.nodes:start()
  self.election:start()
end

--- Stop: writes under way come to their end, then the Lease is given back. In a task.
function Controller:stop()
  self.is_stopping = true
  self:follow()
  self.queue:stop()
  local deadline = runtime.boottime() + LAST_WRITES
  while self.queue.active > 0 and runtime.boottime() < deadline do async.sleep(0.01) end
  self.election:stop()
  self.configmaps:stop()
  self.nodes:stop()
end

--- Whether this process may write now.
function Controller:leading()
  return self.election:leading()
end

--- Whether all that decisions need is known.
-- @treturn boolean|nil  true; or nil, what is missing
function Controller:ready()
  for _, it in ipairs({ self.services, self.configmaps, self.nodes }) do
    -- A Role without Nodes must not keep every Service pending: then only their addresses go unexcluded.
    local is_forbidden = it == self.nodes and it.reason == "Forbidden"
    if not it.synced and not is_forbidden then return nil, it.name .. ": " .. (it.error or "not listed yet") end
  end
  return true
end

-- Leading. ----------------------------------------------------------------------------------------------------------

-- Know everything, list the Services anew unless the last list began after the election, then write.
local function take_office(self, term)
  while self.term == term and not self.is_stopping do
    local ok, message = self:ready()
    local pause = ok and LIST_AGAIN or LOOK_AGAIN
    if ok and self.services.list_began < self.elected_at then ok, message = self.services:refresh() end
    if self.term ~= term or self.is_stopping then return end
    if ok then
      self.is_active = true
      log.info("allocating", { services = self.services.count, identity = self.election.identity })
      self:tell_configmap()
      if self.policies then self.policies:tell() end
      self:probe_ahead()
      return self:add_all(self.engine:keys())
    end
    log.debug("not ready to allocate", { error = message })
    async.sleep(pause)
  end
end

--- The election was won.
function Controller:lead()
  self.term, self.elected_at = self.term + 1, runtime.boottime()
  async.run(take_office, self, self.term)
end

--- The election was lost, or the Lease could not be renewed in time.
function Controller:follow()
  self.term = self.term + 1
  self.is_active = false
  self:probe_ahead()
  if self.retry_timer then self.retry_timer:stop() end
  self.retry_timer, self.retry_at = nil, nil
  if self.retry_soon then self.retry_soon:stop() end
  self.retry_soon = nil
end

-- What the API shows. -----------------------------------------------------------------------------------------------

local function record_of(self, key)
  return self.engine.state.services[key]
end

-- In one pass, Services that ask for an address are decided before the rest.
function Controller:add(key)
  local record = record_of(self, key)
  self.queue:add(key, record ~= nil and record.request ~= nil)
end

function Controller:add_all(keys)
  for _, key in ipairs(keys) do self:add(key) end
end

-- Others that hold one of the Service's addresses as well: which of them has to give way is seen by each alone.
local function add_rivals(self, key)
  local record = record_of(self, key)
  for _, item in ipairs(record and record.assigned or {}) do
    local holders = self.engine.state.ownership:holders(item)
    for _, other in ipairs(#holders > 1 and holders or {}) do
      if other.key ~= key then self:add(other.key) end
    end
  end
end

--- A Service appeared, changed, or (nil) is gone.
function Controller:on_service(key, object)
  local is_freed
  if object then
    is_freed = self.engine:set_service(object)
    local row = self.overwrites:saw(key, object)
    if row and self.is_active then async.run(self.judge, self, key, row) end
  else
    is_freed = self.engine:remove_service(key)
    self.overwrites:forget(key)
    self.writer:drop(key)
    self.queue:forget(key)
    self.held_events[key], self.leaving[key] = nil, nil
    self.failures[key], self.noted[key] = nil, nil
  end
  if not self.is_active then return end
  if object then
    self:add(key)
    add_rivals(self, key)
  end
  if is_freed then
    self:plan_retry()
    self:probe_ahead()
  end
end

--- The ConfigMap appeared, changed, or (nil) is gone.
function Controller:on_configmap(object)
  self.configmap = object
  for _, warning in ipairs(self.engine:set_configmap(object)) do
    log.warn("ConfigMap", { object = self.configmap_key, key = warning.key, item = warning.item,
      error = warning.message })
  end
  if not self.is_active then return end
  self:tell_configmap()
  self:retry_pending()
end

--- A Node appeared, changed, or (nil) is gone: its addresses are for nobody, or again for all.
function Controller:on_node(name, object)
  local is_other = true
  if object then is_other = self.engine:set_node(object) else self.engine:remove_node(name) end
  if not self.is_active then return end
  self:retry_pending()
  if is_other then self:add_all(self.engine:placed_by_policy()) end
end

--- An Event on the ConfigMap, by the leader alone: what concerns all that it configures.
function Controller:tell_of_configmap(type, reason, message)
  if not self.is_active then return end
  local namespace, name = self.configmap_key:match("^(.-)/(.+)$")
  local object = self.configmap or { kind = "ConfigMap", apiVersion = "v1",
    metadata = { namespace = namespace, name = name } }
  self.events:emit(object, type, reason, message)
end

-- Events on the ConfigMap itself, for each bad item; or that there is none.
function Controller:tell_configmap()
  if not self.configmap then
    local namespace, name = self.configmap_key:match("^(.-)/(.+)$")
    log.warn("no ConfigMap", { object = self.configmap_key })
    return self.events:emit({ kind = "ConfigMap", metadata = { namespace = namespace, name = name } }, "Warning",
      "ConfigInvalid", "there is no such ConfigMap: no Service gets an address from a pool until there is")
  end
  for _, event in ipairs(self.engine:configmap_events()) do
    self.events:emit(self.configmap, event.type, event.reason, event.message)
  end
end

--- Have the addresses that come next probed ahead of time, while this process leads.
-- @tparam Preprobe prober  moonlb.announcer.preprobe
function Controller:set_prober(prober)
  self.prober = prober
  self:probe_ahead()
end

--- Which those are has changed. Many changes of one moment are one.
function Controller:probe_ahead()
  if not self.prober or self.probe_soon then return end
  self.probe_soon = async.timer(PROBE_SOON, function()
    self.probe_soon = nil
    if not self.is_active then return self.prober:want({}) end
    self.prober:want(self.engine:next_free(POOLS_AHEAD))
    local rest = self.engine:next_expiry() -- of a freed address, which may then be the next
    if rest then async.timer(math.max(0, rest) + PROBE_SOON, function() self:probe_ahead() end) end
  end)
end

--- Take the addresses that nobody may be given, as the announcer of this node sees them.
-- @tparam table list  array of `{first=, last=, reason=}`; replaces the one before
function Controller:set_excluded(list)
  local fresh = {}
  for _, item in ipairs(list) do
    local text = item.first == item.last and item.first or item.first .. "-" .. item.last
    fresh[text .. "\0" .. item.reason] = { text = text, reason = item.reason }
  end
  for id, item in pairs(self.excluded) do
    if not fresh[id] then self.engine:unexclude(item.text, item.reason) end
  end
  for id, item in pairs(fresh) do
    if not self.excluded[id] then self.engine:exclude(item.text, item.reason) end
  end
  self.excluded = fresh
  self:probe_ahead()
  if self.is_active then self:retry_pending() end
end

-- Services that wait. -----------------------------------------------------------------------------------------------

--- Try all that wait for an address, now and not after a pause: what they lacked may be there. Asked several times in
-- one turn of the loop, it is done once.
function Controller:retry_pending()
  self.retry_soon = self.retry_soon or async.timer(0, function()
    self.retry_soon = nil
    if self.is_active then self:add_all(self.engine:pending()) end
  end)
end

--- A freed address rests for some seconds: try those that wait when the first rest is over.
function Controller:plan_retry()
  local rest = self.engine:next_expiry()
  if not rest then return end
  local at = runtime.boottime() + rest
  if self.retry_at and self.retry_at <= at then return end
  if self.retry_timer then self.retry_timer:stop() end
  self.retry_at = at
  self.retry_timer = async.timer(math.max(0, rest) + 0.01, function()
    self.retry_timer, self.retry_at = nil, nil
    self:retry_pending()
    self:plan_retry()
  end)
end

-- Reconciling. ------------------------------------------------------------------------------------------------------

local function emit_all(self, key, events)
  local service = self.services:get(key)
  for _, event in ipairs(service and events or {}) do
    self.events:emit(service, event.type, event.reason, event.message)
  end
end

-- What was refused is said at once; that an address was given, once it is written.
function Controller:tell(key, result)
  local now, later = {}, {}
  for _, event in ipairs(result.events) do
    table.insert(event.type == "Normal" and result.patch and later or now, event)
  end
  -- A write that is tried again comes without Events: those of its first try still wait for it.
  local is_again = result.patch and not result.events[1]
  if not is_again then self.held_events[key] = later[1] and later or nil end
  emit_all(self, key, now)
  if now[1] and result.decision and result.decision.action == "pending" then
    self:count("pending")
    local reason = now[1].reason
    self.refusals[reason] = (self.refusals[reason] or 0) + 1
  end
end

function Controller:count(action)
  self.counts[action] = (self.counts[action] or 0) + 1
end

--- A decision stands in the API.
function Controller:on_written(key, decision, object)
  self.overwrites:wrote(key, object)
  self:count(decision.action)
  log.info("service", { service = key, action = decision.action, addresses = table.concat(decision.addresses, ","),
    rule = decision.rule, pool = decision.pool })
  emit_all(self, key, self.held_events[key])
  self.held_events[key] = nil
  self.written = self.written + 1
  if self.written >= BURST and self.queue:depth() == 0 then
    self.written = 0
    async.run(memory.settle)
  end
end

-- A Service that is being deleted: the cloud controllers' finalizer would keep it for ever.
local function release_finalizer(self, key, patch)
  local now = runtime.boottime()
  self.leaving[key] = self.leaving[key] or now
  local rest = self.leaving[key] + WITHDRAWAL - now
  if rest > 0 then
    self.queue:add_after(key, rest)
    return true
  end
  return self.writer:write(key, { patch = patch, decision = { action = "release", addresses = {} } })
end

-- A Service that waits because its policy failed, or because of what somebody outside answered: nothing in the cluster
-- will change when that does.
local function plan_another_try(self, key, decision)
  if not decision or decision.action ~= "pending" then return end
  local failure = decision.failure
  if failure then
    self.queue:add_after(key, (self.engine.host:benched(failure.policy) or POLICY_AGAIN) + 0.1)
  elseif decision.is_from_outside then
    self.queue:add_after(key, OUTSIDE_AGAIN)
  end
end

--- Bring one Service to what the engine says. In a task of the queue.
-- @treturn boolean  true; or nil, message, reason: the queue comes again
function Controller:reconcile(key)
  if not self.is_active then return true end
  local ok, message, reason = self:carry_out(key)
  local is_failure = not ok and reason ~= "Conflict"
  self.failures[key] = is_failure and { message = message, reason = reason } or nil
  if is_failure then recorder.note("error", key, { message = message, reason = reason }) end
  return ok, message, reason
end

-- What was decided, once until it is something else: a Service is looked at again with each of its events.
function Controller:note_decision(key, result)
  local decision = result.decision
  if not decision or (decision.action == "keep" and not decision.refused) or decision.action == "ignore" then return end
  local text = decision.action .. table.concat(decision.addresses, ",") .. (decision.message or "")
  if self.noted[key] == text then return end
  self.noted[key] = text
  recorder.note("decision", key, { action = decision.action, addresses = table.concat(decision.addresses, ","),
    rule = decision.rule, policy = decision.policy, pool = decision.pool, message = decision.message,
    trace = decision.trace, failure = decision.failure })
end

-- The steps of reconcile().
function Controller:carry_out(key)
  local ok, message, reason = self.writer:settle(key)
  if not ok then return nil, message, reason end
  local pause = self.overwrites:pause(key)
  if pause then
    self.queue:add_after(key, pause)
    return true
  end
  local result = self.engine:reconcile(key)
  self:note_decision(key, result)
  self:tell(key, result)
  plan_another_try(self, key, result.decision)
  if result.finalizer_removal then return release_finalizer(self, key, result.finalizer_removal) end
  if result.patch then
    self:probe_ahead()
    ok, message, reason = self.writer:write(key, result)
    if not ok then return nil, message, reason end
  end
  if result.status_clear then return self.writer:clear_status(key) end
  return true
end

--- Our fields were changed within seconds of our write, once more: by whom? A program is left the Service. In a task.
-- @tparam string key
-- @tparam number row  how often in a row
function Controller:judge(key, row)
  if row < overwrites.LIMIT then return end
  local object = self.client:get(("/api/v1/namespaces/%s/services/%s"):format(key:match("^([^/]+)/(.+)$")),
    { keep_managed = true })
  local manager = object and overwrites.manager(object, controller.MANAGER)
  if manager and overwrites.is_person(manager) then return self.overwrites:excuse(key) end
  if not manager and row < overwrites.NAMELESS_LIMIT then return end
  self.overwrites:halt(key)
  local service = self.services:get(key)
  if not service then return end
  self.events:emit(service, "Warning", "AllocatorConflict",
    ("%s changes what moonlb writes here, again and again: moonlb leaves this Service alone for %d minutes. Two "
      .. "controllers must not allocate for one Service; turn one off, or tell them apart by loadBalancerClass")
      :format(manager or "another controller", overwrites.HALT // 60))
end

return controller
