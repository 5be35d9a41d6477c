--- Objects for specs of the allocator, and a cluster that carries out what the engine says.
-- @module spec.support.allocation
local engine = require("moonlb.allocator.engine")
local json = require("moonlb.json")

local allocation = {}

local LABEL, ADDRESSES, ASSIGNED = "implementation", "kube-vip.io/loadbalancerIPs", "moonlb.io/assigned"

--- The ConfigMap with this data.
function allocation.configmap(data)
  return { kind = "ConfigMap", metadata = { namespace = "kube-system", name = "kubevip" }, data = data }
end

local function ports_of(list)
  local ports = {}
  for i, port in ipairs(list) do
    local protocol, number = tostring(port):match("^(%u+)/(%d+)$")
    ports[i] = { port = math.tointeger(tonumber(number or port)), protocol = protocol or "TCP" }
  end
  return ports
end

--- A Service of type LoadBalancer.
-- @tparam string key  `namespace/name`
-- @tparam[opt] table options  `created` (day of January 2026, 1), `ports` ({80}), `request` (annotation), `ip`
-- (spec.loadBalancerIP), `assigned` (as moonlb writes it), `kube_vip` (as kube-vip writes it), `status` (list),
-- `annotations`, `labels`, `spec`
function allocation.service(key, options)
  options = options or {}
  local namespace, name = key:match("^(.*)/(.*)$")
  local annotations, labels = options.annotations or {}, options.labels or {}
  local spec = { type = "LoadBalancer", ports = ports_of(options.ports or { 80 }), loadBalancerIP = options.ip }
  for field, value in pairs(options.spec or {}) do spec[field] = value end
  annotations[ADDRESSES] = options.request or options.kube_vip
  if options.kube_vip then labels[LABEL] = "kube-vip" end
  if options.assigned then
    local list = options.assigned:match("^%S+")
    labels[LABEL], annotations[ASSIGNED] = "kube-vip", options.assigned
    annotations[ADDRESSES], spec.loadBalancerIP = options.request or list, options.ip or list:match("^[^,]+")
  end
  local ingress = {}
  for i, ip in ipairs(options.status or {}) do ingress[i] = { ip = ip } end
  return {
    kind = "Service",
    metadata = { namespace = namespace, name = name, annotations = annotations, labels = labels, uid = "uid-" .. key,
      resourceVersion = "1", creationTimestamp = ("2026-01-%02dT00:00:00Z"):format(options.created or 1) },
    spec = spec, status = { loadBalancer = { ingress = ingress } },
  }
end

--- A Node with these addresses.
function allocation.node(name, ...)
  local addresses = {}
  for i, address in ipairs({ ... }) do addresses[i] = { type = "InternalIP", address = address } end
  return { kind = "Node", metadata = { name = name, labels = {} }, status = { addresses = addresses } }
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for key, item in pairs(value) do result[key] = copy(item) end
  return result
end
allocation.copy = copy

--- JSON merge patch (RFC 7396).
function allocation.merge(target, patch)
  if type(patch) ~= "table" then return patch end
  local result = type(target) == "table" and target or {}
  for key, value in pairs(patch) do
    if value == json.null then
      result[key] = nil
    else
      result[key] = allocation.merge(result[key], value)
    end
  end
  return result
end

local Cluster = {}
Cluster.__index = Cluster

--- A cluster of objects, with an engine whose every patch is applied.
-- @tparam table data  of the ConfigMap
-- @tparam[opt] table settings
function allocation.cluster(data, settings)
  local self = setmetatable({ objects = {}, version = 1, clock = 1000, events = {}, writes = 0 }, Cluster)
  self.settings = settings or {}
  self.engine = engine.new({ now = function() return self.clock end, utc = function() return self.clock end,
    settings = self.settings })
  self:configure(data)
  return self
end

--- Put a new ConfigMap in the old one's place.
function Cluster:configure(data)
  self.data = data
  self.engine:set_configmap(allocation.configmap(data))
end

--- Create or replace a Service; the engine sees a copy.
function Cluster:put(object)
  self.version = self.version + 1
  object.metadata.resourceVersion = tostring(self.version)
  self.objects[object.metadata.namespace .. "/" .. object.metadata.name] = object
  self.engine:set_service(copy(object))
end

--- Change a Service with a function, as its user would.
function Cluster:edit(key, change)
  change(self.objects[key])
  self:put(self.objects[key])
end

--- Delete a Service.
function Cluster:delete(key)
  self.objects[key] = nil
  self.engine:remove_service(key)
end

--- Apply one merge patch, which must name the version that it was made for.
function Cluster:apply(key, patch)
  local object = self.objects[key]
  assert(patch.metadata.resourceVersion == object.metadata.resourceVersion, "a patch without the version it is for")
  self.writes = self.writes + 1
  allocation.merge(object, copy(patch))
  self:put(object)
end

--- Reconcile one Service and carry out what is said.
-- @treturn table  of Engine.reconcile
function Cluster:reconcile(key)
  local result = self.engine:reconcile(key)
  for _, event in ipairs(result.events) do
    event.key = key
    table.insert(self.events, event)
  end
  if result.patch then
    if result.reserve then self.engine:reserve(key, result.decision) end
    self:apply(key, result.patch)
  end
  if result.status_clear then self:edit(key, function(object) object.status = {} end) end
  if result.finalizer_removal then self:apply(key, result.finalizer_removal) end
  return result
end

--- Reconcile all, in order, until nothing is left to write. Raises when that does not end.
-- @treturn table  {key = decision}
function Cluster:settle()
  for _ = 1, 8 do
    local decisions, before = {}, self.writes
    for _, key in ipairs(self.engine:keys()) do decisions[key] = self:reconcile(key).decision end
    if self.writes == before then return decisions end
  end
  error("the writes do not end", 2)
end

--- Let seconds pass.
function Cluster:wait(seconds)
  self.clock = self.clock + seconds
end

--- What a Service has, as moonlb wrote it: the addresses and by whom.
function Cluster:assigned(key)
  local text = self.objects[key].metadata.annotations[ASSIGNED]
  if not text then return nil end
  return text:match("^(%S+) (%S+)$")
end

--- The Events so far of a Service, as "reason: message"; and forgets them.
function Cluster:told(key)
  local told, rest = {}, {}
  for _, event in ipairs(self.events) do
    if event.key == key then told[#told + 1] = event.reason .. ": " .. event.message else rest[#rest + 1] = event end
  end
  self.events = rest
  return told
end

return allocation
