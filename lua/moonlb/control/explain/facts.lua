--- Facts about one Service: all that a report is made of. From a running daemon, or from objects of the API alone.
--
-- `key`, `source` ("daemon", "cluster" or "files"), `node`, `walltime`, `service` (the object), `api` {message=,
-- reason=}: the Services cannot be read; `forbidden`: array of {what=, message=}; `stale_socket`: its path. Of the
-- allocator: see `allocation.add`, and `allocator` {is_here=, is_leading=, leader=, lease=, lease_error=,
-- expired={lease=, holder=, age= seconds}, missing=, paused= seconds, failure={message=}}. Of announcing: see
-- `announcement`. `events`: array of {type=, reason=, message=, at= seconds since 1970}; `history`: entries of the
-- flight recorder; `unknown`: what could not be known, for people.
-- @module moonlb.control.explain.facts
local ago = require("moonlb.control.explain.ago")
local allocation = require("moonlb.control.explain.allocation")
local announcement = require("moonlb.control.explain.announcement")
local endpoints = require("moonlb.announcer.endpoints")
local planner = require("moonlb.allocator.plan")
local engine = require("moonlb.allocator.engine")
local recorder = require("moonlb.recorder")
local runtime = require("moonlb.core.runtime")
local timestamp = require("moonlb.kube.timestamp")

local facts = {}

local HISTORY = 12
-- A Lease that was not renewed for its length and this many seconds more, since clocks differ, is nobody's.
local SKEW = 5

local function forbid(list, what, it)
  if it and it.reason == "Forbidden" then list[#list + 1] = { what = what, message = it.error or it.message } end
end

-- What the API server refused to each part of the daemon.
local function forbidden_of(daemon, key)
  local list = {}
  forbid(list, "read Services", daemon.services)
  if daemon.allocator then
    forbid(list, "read the ConfigMap with the pools", daemon.allocator.configmaps)
    forbid(list, "take the Lease", daemon.allocator.election)
    forbid(list, "write Services", daemon.allocator.failures[key])
  end
  local announcer = daemon.announcer
  if announcer then
    forbid(list, "write the status of Services", announcer.writer.failures[key])
    forbid(list, "read the heartbeat key", announcer.peers.heartbeats and announcer.peers.heartbeats.secrets)
    forbid(list, "read EndpointSlices", announcer.slices.is_started and announcer.slices.informer)
  end
  return list[1] and list or nil
end

local function allocator_of(daemon, key)
  local it = daemon.allocator
  if not it then return { is_here = false } end
  local _, missing = it:ready()
  local holder, paused = it.election:holder(), it.overwrites:pause(key)
  return { is_here = true, is_leading = it:leading(), leader = holder ~= "" and holder or nil, lease = it.election.name,
    lease_error = it.election.error, missing = it.is_active and missing or nil, paused = paused and math.ceil(paused),
    failure = it.failures[key] }
end

local function endpoints_of(slices, service)
  local all, nodes = 0, {}
  for _, slice in ipairs(slices) do
    all = all + slice.usable
    for node, count in pairs(slice.nodes) do nodes[node] = (nodes[node] or 0) + count end
  end
  return { all = all, is_local = service.spec.externalTrafficPolicy == "Local", nodes = nodes }
end

-- Where this moonlb looked for the policy in charge, and what it thinks of the file.
local function add_policy_file(self, store)
  local file = self.policy_file
  if not file or not store then return end
  local entry = store.policies[self.policy]
  file.folder, file.names = store.folder.path, {}
  for name in pairs(store.policies) do table.insert(file.names, name) end
  table.sort(file.names)
  if entry then file.file, file.error = entry.file, entry.error end
end

-- The names of all Nodes: as the allocator knows them, else asked for once.
local function node_names(self, daemon)
  local names = {}
  if daemon.allocator then
    for name in pairs(daemon.allocator.engine.state.nodes) do names[#names + 1] = name end
  elseif not self.api then
    daemon.connection.client:list("/api/v1/nodes", {}, function(items)
      for _, node in ipairs(items) do names[#names + 1] = node.metadata.name end
    end)
  end
  return names
end

-- Endpoints that nobody here watches, asked for once.
local function ask_endpoints(self, client, key)
  local namespace, name = key:match("^(.-)/(.+)$")
  local path = ("/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices"):format(namespace)
  local slices = {}
  local ok = client:list(path, { label_selector = "kubernetes.io/service-name=" .. name }, function(items)
    for _, slice in ipairs(items) do slices[#slices + 1] = endpoints.project(slice) end
  end)
  if ok then
    self.endpoints = endpoints_of(slices, self.service)
  else
    table.insert(self.unknown, "its endpoints")
  end
end

-- A policy that asks outside says another thing in a look, which asks nobody: then what it said in earnest counts.
local function remember_decision(self)
  local decision = self.decision or {}
  if not (decision.is_from_outside or decision.failure and decision.failure.is_from_outside) then return end
  local list = recorder.of(self.key, nil, recorder.SIZE)
  for i = #list, 1, -1 do
    local it = list[i]
    if it.kind == "decision" then
      local addresses = {}
      for address in it.addresses:gmatch("[^,]+") do addresses[#addresses + 1] = address end
      self.decision = { action = it.action, addresses = addresses, rule = it.rule, policy = it.policy, pool = it.pool,
        message = it.message, reason = it.message, trace = it.trace, failure = it.failure, is_from_outside = true }
      self.failure = it.failure
      return
    end
  end
  self.asks_outside, self.failure, decision.failure, decision.trace = true, nil, nil, {}
end

--- From a running daemon. In a task.
-- @tparam Daemon daemon  moonlb.daemon
-- @tparam string key  namespace/name
-- @treturn table
function facts.of_daemon(daemon, key)
  local self = { key = key, source = "daemon", node = daemon.settings.node_name, walltime = runtime.walltime(),
    unknown = {}, ingress = {}, forbidden = forbidden_of(daemon, key) }
  local services = daemon.services
  if services.error and services.reason ~= "Forbidden" then
    self.api = { message = services.error, reason = services.reason }
  end
  self.service = services:get(key)
  self.allocator = allocator_of(daemon, key)
  if daemon.allocator then
    allocation.add(self, daemon.allocator.engine, key)
    remember_decision(self)
    add_policy_file(self, daemon.policies)
  end
  if self.service then announcement.read(self, self.service) end
  if daemon.announcer then
    announcement.add(self, daemon.announcer, key, runtime.boottime())
    announcement.add_unheard(self, daemon.announcer, node_names(self, daemon))
  else
    self.announcer = { is_here = false, error = daemon.announcer_error }
    if self.claim then self.owner = { node = self.claim.node, term = self.claim.term, is_here = false } end
  end
  if self.service and self.assigned and not self.endpoints and not self.api then
    ask_endpoints(self, daemon.connection.client, key)
  end
  self.history = recorder.of(key, self.assigned, HISTORY)
  return self
end

local function add_lease(self, lease)
  local spec = lease and lease.spec or {}
  local holder = spec.holderIdentity
  holder = type(holder) == "string" and holder ~= "" and holder or nil
  local name, renewed = "moonlb-allocator", holder and timestamp.seconds(spec.renewTime)
  local age = renewed and self.walltime - renewed
  self.allocator = { is_here = true, leader = holder, lease = name,
    lease_error = not lease and "there is no such Lease" or nil }
  if age and age > (tonumber(spec.leaseDurationSeconds) or 15) + SKEW then
    self.allocator.leader, self.allocator.expired = nil, { lease = name, holder = holder, age = age }
    self.allocator.lease_error = ("%s renewed it last, %s ago"):format(holder, ago(age))
  end
end

--- From what the API has, without a daemon.
-- @tparam string key
-- @tparam table objects  `services`, `nodes`, `configmap`|nil, `lease`|nil, `slices`|nil, `events`|nil: arrays of
--   objects, or one; `unknown`: what could not be read; `forbidden`, `api`: see above
-- @tparam table settings  of moonlb.allocator.engine
-- @tparam[opt] Host host  of the policies; inside a task where one waits
-- @treturn table
function facts.of_objects(key, objects, settings, host)
  local self = { key = key, source = objects.source or "cluster", walltime = runtime.walltime(),
    unknown = objects.unknown or {}, ingress = {}, forbidden = objects.forbidden, api = objects.api }
  if objects.has_lease ~= false then add_lease(self, objects.lease) end
  local all = { objects.configmap }
  for _, kind in ipairs({ "Service", "Node" }) do
    for _, object in ipairs(kind == "Service" and objects.services or objects.nodes) do
      object.kind = kind
      all[#all + 1] = object
      local name = kind == "Service" and object.metadata.namespace .. "/" .. object.metadata.name
      if name == key then self.service = object end
    end
  end
  local brain = engine.new({ settings = settings, host = host })
  planner.feed(brain, all, settings.configmap)
  planner.decide(brain, key)	-- those that wait get theirs first
  allocation.add(self, brain, key)
  if self.failure then	-- its file is where moonlb runs, not here
    table.insert(self.unknown, ("what policy %s says: moonlb plan --policy FILE tries it"):format(self.policy))
    self.failure, self.benched, self.decision.failure, self.policy_file = nil, nil, nil, nil
  end
  if self.service then announcement.read(self, self.service) end
  announcement.add_from_api(self, key, objects.services, objects.nodes)
  if objects.slices and self.service then self.endpoints = endpoints_of(objects.slices, self.service) end
  self.events = objects.events
  return self
end

--- From manifests, as a cluster that has only these objects.
-- @tparam string key
-- @tparam table objects  array of Kubernetes objects
-- @tparam table settings  of moonlb.allocator.engine
-- @tparam[opt] Host host  as of `facts.of_objects`
-- @treturn table
function facts.of_manifests(key, objects, settings, host)
  local sorted = { Service = {}, Node = {} }
  local sources = { services = sorted.Service, nodes = sorted.Node, has_lease = false,
    source = "files", unknown = { "anything but these files" } }
  for _, object in ipairs(objects) do
    local metadata = object.metadata
    metadata.namespace = metadata.namespace or object.kind ~= "Node" and "default" or nil
    if sorted[object.kind] then table.insert(sorted[object.kind], object) end
    if object.kind == "ConfigMap" and metadata.namespace .. "/" .. metadata.name == settings.configmap then
      sources.configmap = object
    end
  end
  return facts.of_objects(key, sources, settings, host)
end

return facts
