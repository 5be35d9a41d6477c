--- The allocator's hands: tells the engine what is, and carries out what it says should be. One leader writes.
--
-- Leadership is asked for again before each write. After winning it the Services are listed once more, so that the
-- first decision is made on what is, not on what a stale watch showed. An address is reserved when decided; the
-- patch's answer goes into the store, and a write whose fate is not known keeps its reservation until a read shows it.
-- @module moonlb.allocator.controller
local async = require("moonlb.async")
local engine = require("moonlb.allocator.engine")
local informer = require("moonlb.kube.informer")
local json = require("moonlb.json")
local lease = require("moonlb.kube.lease")
local log = require("moonlb.core.log")
local overwrites = require("moonlb.allocator.overwrites")
local runtime = require("moonlb.core.runtime")
local workqueue = require("moonlb.kube.workqueue")

local controller = {}

local Controller = { __name = "moonlb.allocator.controller" }
Controller.__index = Controller

local LEASE = "moonlb-allocator"
local WORKERS = 16 -- writes in flight: more gain nothing (the API server and etcd are the limit)
local WITHDRAW = 1 -- seconds between a Service's deletionTimestamp and our taking the cleanup finalizer away

-- Reasons for which a write certainly did not happen.
local REFUSED = { Conflict = true, NotFound = true, Invalid = true, Forbidden = true, BadRequest = true,
  Unauthorized = true, TooManyRequests = true, ECONNREFUSED = true, EAGAIN = true, UnsupportedMediaType = true }

local function path_of(key)
  return ("/api/v1/namespaces/%s/services/%s"):format(key:match("^(.*)/(.*)$"))
end

--- @tparam table options
--   `client`, `services` (informer), `events` (recorder), `identity` (of this process in the Lease), `settings`
--   (`configmap`, `configmap_namespace` and those of moonlb.allocator.engine), `host` (moonlb.policy.host, or nil)
-- @treturn Controller
function controller.new(options)
  local settings = setmetatable({
    configmap = options.settings.configmap_namespace .. "/" .. options.settings.configmap,
  }, { __index = options.settings })
  local self = setmetatable({
    client = options.client, services = options.services, events = options.events, settings = settings,
    engine = engine.new({ now = runtime.boottime, utc = runtime.walltime, settings = settings, host = options.host }),
    counts = {}, -- action -> decisions carried out
    unwritten = {}, -- key -> Events that wait for their write
    unknown = {}, -- key -> true: a write whose fate is not known
    excluded = {}, -- "text\0reason" -> {text, reason}
    overwrites = overwrites.new({ now = runtime.boottime }),
  }, Controller)
  self.queue = workqueue.new({ name = "allocator", workers = WORKERS, reconcile = function(key)
    return self:reconcile(key)
  end })
  self.election = lease.new({
    client = options.client, namespace = options.settings.configmap_namespace, name = LEASE,
    identity = options.identity,
    on_start = function() self.take_over = async.run(self.begin, self) end,
    on_stop = function() self.is_ready = false end,
  })
  return self
end

-- What is ---------------------------------------------------------------------------------------------------------

-- Addresses that rest come free in a moment: then those that wait are tried again.
local function wake_at_expiry(self)
  local pause = self.engine:next_expiry()
  if not pause then return end
  if self.expiry then self.expiry:stop() end
  self.expiry = async.timer(pause + 0.01, function()
    self.expiry = nil
    self:retry_pending()
    wake_at_expiry(self)
  end)
end

local function on_service(self, key, new, old)
  local freed
  if new then
    freed = self.engine:set_service(new)
    if self.overwrites:saw(key, new, old) then self:report_overwrite(key, new) end
  else
    freed = self.engine:remove_service(key)
    self.unwritten[key], self.unknown[key] = nil, nil
    self.overwrites:forget(key)
    self.queue:forget(key)
  end
  if new and self.is_ready then self.queue:add(key) end
  if freed then
    self:retry_pending()
    wake_at_expiry(self)
  end
end

-- Bad items are Events on the ConfigMap, written by the leader alone.
local function tell_configmap(self)
  local object = self.configmap_object
  if not object or not self:leading() then return end
  for _, event in ipairs(self.engine:configmap_events()) do
    self.events:emit(object, event.type, event.reason, event.message)
  end
end

local function on_configmap(self, object)
  if object then object.kind, object.apiVersion = "ConfigMap", "v1" end
  self.configmap_object = object
  local warnings = self.engine:set_configmap(object)
  log.info(object and "ConfigMap read" or "no ConfigMap", { name = self.settings.configmap,
    pools = #self.engine:pools(), warnings = #warnings })
  for _, warning in ipairs(warnings) do
    log.warn("ConfigMap", { key = warning.key, item = warning.item, error = warning.message })
  end
  tell_configmap(self)
  self:retry_pending()
end

local function follow(self)
  local settings = self.settings
  self.configmaps = informer.new({ client = self.client, log_name = "configmap",
    path = ("/api/v1/namespaces/%s/configmaps"):format(settings.configmap_namespace),
    field_selector = "metadata.name=" .. settings.configmap:match("/(.*)$") })
  self.configmaps:on(function(_, new) on_configmap(self, new) end)
  self.nodes = informer.new({ client = self.client, log_name = "nodes", path = "/api/v1/nodes",
    project = controller.project_node })
  self.nodes:on(function(name, new)
    if new then self.engine:set_node(new) else self.engine:remove_node(name) end
  end)
  self.services:on(function(key, new, old) on_service(self, key, new, old) end)
  for _, service in self.services:each() do self.engine:set_service(service) end
  self.configmaps:start()
  self.nodes:start()
end

--- What the store keeps of a Node: what policies may look at. The kubelet's heartbeats change nothing of it.
-- @tparam table object
-- @treturn table
function controller.project_node(object)
  local metadata, spec, status = object.metadata, object.spec or {}, object.status or {}
  return {
    metadata = { name = metadata.name, uid = metadata.uid, resourceVersion = metadata.resourceVersion,
      labels = metadata.labels, annotations = metadata.annotations },
    spec = { unschedulable = spec.unschedulable, taints = spec.taints },
    status = { addresses = status.addresses },
  }
end

--- What this process' node needs for itself, beside what the API tells of Nodes.
-- @tparam table list  `{first=, last=, reason=}`
function Controller:set_excluded(list)
  local wanted = {}
  for _, entry in ipairs(list) do
    local text = entry.first == entry.last and entry.first or entry.first .. "-" .. entry.last
    wanted[text .. "\0" .. entry.reason] = { text, entry.reason }
  end
  for id, entry in pairs(self.excluded) do
    if not wanted[id] then self.engine:unexclude(entry[1], entry[2]) end
  end
  for id, entry in pairs(wanted) do
    if not self.excluded[id] then self.engine:exclude(entry[1], entry[2]) end
  end
  self.excluded = wanted
  self:retry_pending()
end

-- Leading ---------------------------------------------------------------------------------------------------------

--- Whether this process may write now.
function Controller:leading()
  return self.election:leading()
end

--- Whether what must be known is known; else false and what is missing.
-- @treturn boolean
-- @treturn string
function Controller:ready()
  if not self.configmaps.synced then return false, "configmap: " .. (self.configmaps.error or "not listed yet") end
  if self.election.error then return false, "leader election: " .. self.election.error end
  return true
end

-- Newly the leader: see the Services as they are, then decide for all of them, those that ask for an address first.
function Controller:begin()
  for _, followed in ipairs({ self.services, self.configmaps, self.nodes }) do
    -- Nodes only add exclusions: without the right to list them the rest goes on.
    while not followed.synced and not (followed == self.nodes and followed.error) do
      if not self:leading() or not async.sleep(0.02) then return end
    end
  end
  local ok, message
  repeat
    ok, message = self.services:refresh()
    if not self:leading() then return end
    if not ok then
      log.warn("cannot list the Services before the first write", { error = message })
      if not async.sleep(1) then return end
    end
  until ok
  self.is_ready = true
  tell_configmap(self)
  for _, key in ipairs(self.engine:keys()) do self.queue:add(key) end
  wake_at_expiry(self)
end

--- Try the Services that wait, now and not after a pause.
function Controller:retry_pending()
  if not self.is_ready then return end
  for _, key in ipairs(self.engine:pending()) do self.queue:add(key) end
end

-- What should be --------------------------------------------------------------------------------------------------

local function emit(self, key, list)
  local service = self.services:get(key)
  for _, event in ipairs(service and list or {}) do
    self.events:emit(service, event.type, event.reason, event.message)
  end
end

-- A write whose fate is not known: only a read shows whether its reservation holds.
local function settle_unknown(self, key)
  local object, message, reason = self.client:get(path_of(key))
  if not object and reason ~= "NotFound" then return nil, message end
  self.unknown[key] = nil
  self.engine:release(key)
  if object then
    self.services:absorb(object)
  else
    self.services:forget(key)
  end
  return true
end

-- The write did not happen, or its fate is not known.
local function write_failed(self, key, message, reason, status)
  if not REFUSED[reason] then
    self.unknown[key] = true
    return nil, message
  end
  self.engine:release(key)
  if reason == "NotFound" then
    self.services:forget(key)
    return true
  elseif reason == "Conflict" then -- somebody was faster: look again, and decide anew
    local object = self.client:get(path_of(key))
    if object then self.services:absorb(object) end
    self.queue:add(key)
    return true
  elseif reason == "Invalid" then
    emit(self, key, { { type = "Warning", reason = "AddressRefused",
      message = "the API server refuses: " .. message } })
  end
  log.warn("Service not written", { service = key, error = message, reason = reason, status = status })
  return nil, message
end

local function write(self, key, result)
  if result.reserve then self.engine:reserve(key, result.decision) end
  if not self:leading() then
    self.engine:release(key)
    return true
  end
  local object, message, reason, status = self.client:merge_patch(path_of(key), json.encode(result.patch))
  if not object then return write_failed(self, key, message, reason, status) end
  local action = result.decision.action
  self.counts[action] = (self.counts[action] or 0) + 1
  self.overwrites:wrote(key, object)
  self.services:absorb(object)
  return true
end

local function clear_status(self, key)
  local ok, message, reason = self.client:merge_patch(path_of(key) .. "/status",
    json.encode({ status = { loadBalancer = json.object({ ingress = json.null }) } }))
  if ok then self.services:absorb(ok) end
  if ok or reason == "NotFound" then return true end
  return nil, message
end

-- The announcers withdraw on the deletionTimestamp that we see too; a moment later nothing answers any more.
local function remove_finalizer(self, key, result)
  self.deleting = self.deleting or {}
  local since = self.deleting[key]
  if not since then
    self.deleting[key] = runtime.boottime()
    self.queue:add_after(key, WITHDRAW)
    return true
  end
  local rest = since + WITHDRAW - runtime.boottime()
  if rest > 0 then
    self.queue:add_after(key, rest)
    return true
  end
  self.deleting[key] = nil
  local object, message, reason = self.client:merge_patch(path_of(key), json.encode(result.finalizer_removal))
  if object then
    if #(object.metadata.finalizers or {}) > 0 then self.services:absorb(object) end
    return true
  end
  if reason == "NotFound" then return true end
  if reason == "Conflict" then self.queue:add_after(key, 0.05) end
  return reason == "Conflict" or nil, message
end

--- Bring one Service to what the engine says. In a task; called by the queue.
-- @tparam string key
-- @treturn boolean  true; nil, message: again after a pause
function Controller:reconcile(key)
  if not self.is_ready or not self:leading() or not self.services:get(key) then return true end
  if self.unknown[key] then
    local ok, message = settle_unknown(self, key)
    if not ok then return nil, message end
  end
  if self.overwrites:is_halted(key) then
    self.queue:add_after(key, self.overwrites:rest(key))
    return true
  end
  local result = self.engine:reconcile(key)
  if #result.events > 0 then self.unwritten[key] = result.events end
  local ok, message = true, nil
  if result.patch then ok, message = write(self, key, result) end
  if ok and result.status_clear then ok, message = clear_status(self, key) end
  if ok and result.finalizer_removal then ok, message = remove_finalizer(self, key, result) end
  -- An Event tells what is: it waits for its write.
  if ok and self.unwritten[key] then
    emit(self, key, self.unwritten[key])
    self.unwritten[key] = nil
  end
  return ok, message
end

--- Another controller undid our write twice: say who, and leave the Service alone for a while.
function Controller:report_overwrite(key, service)
  async.run(function()
    local who = overwrites.last_manager(self.client, path_of(key))
    self.events:emit(service, "Warning", "AllocatorConflict",
      ("%s writes the same fields: moonlb leaves this Service alone for %d min; let only one of them allocate"):format(
        who, overwrites.HALT // 60))
  end)
end

--- Begin to follow the API and to take part in the election. The Services' informer is started by its owner.
function Controller:start()
  follow(self)
  self.election:start()
end

--- Stop, and give the Lease back. In a task.
function Controller:stop()
  self.is_ready = false
  self.queue:stop()
  if self.expiry then self.expiry:stop() end
  if self.take_over then self.take_over:cancel() end
  self.configmaps:stop()
  self.nodes:stop()
  self.election:stop()
end

return controller
