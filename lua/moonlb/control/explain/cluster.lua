--- What `explain` reads of a cluster when no daemon is at hand. In a task.
-- @module moonlb.control.explain.cluster
local endpoints = require("moonlb.announcer.endpoints")
local facts = require("moonlb.control.explain.facts")
local timestamp = require("moonlb.kube.timestamp")

local cluster = {}

local EVENTS = 20

-- What cannot be read is told, not an error: rights differ.
local function listed(objects, client, path, options, what)
  local items = {}
  local ok, message, reason = client:list(path, options, function(page)
    table.move(page, 1, #page, #items + 1, items)
  end)
  if ok then return items end
  objects.unknown[#objects.unknown + 1] = ("%s (%s)"):format(what, message)
  return nil, message, reason
end

local function got(objects, client, path, what)
  local object, message, reason = client:get(path)
  if not object and reason ~= "NotFound" then
    objects.unknown[#objects.unknown + 1] = ("%s (%s)"):format(what, message)
  end
  return object, message, reason
end

local function events_of(objects, client, namespace, name)
  local list = {}
  local items = listed(objects, client, ("/api/v1/namespaces/%s/events"):format(namespace),
    { field_selector = "involvedObject.kind=Service,involvedObject.name=" .. name }, "its Events")
  for _, it in ipairs(items or {}) do
    local time = type(it.lastTimestamp) == "string" and it.lastTimestamp or it.metadata.creationTimestamp
    list[#list + 1] = { type = it.type, reason = it.reason, message = tostring(it.message), count = it.count,
      at = timestamp.seconds(time) or 0 }
  end
  table.sort(list, function(a, b) return a.at < b.at end)
  return table.move(list, math.max(1, #list - EVENTS + 1), #list, 1, {})
end

local function add_extras(objects, client, key, settings)
  local namespace, name = key:match("^(.-)/(.+)$")
  objects.nodes = listed(objects, client, "/api/v1/nodes", {}, "the Nodes") or {}
  local path = ("/api/v1/namespaces/%s"):format(settings.configmap_namespace)
  local message, reason, _
  objects.configmap, message, reason = got(objects, client, path .. "/configmaps/" .. settings.configmap,
    "the ConfigMap")
  if objects.configmap then objects.configmap.kind = "ConfigMap" end
  if reason == "Forbidden" then
    objects.forbidden = { { what = "read the ConfigMap with the pools (with these credentials)", message = message } }
  end
  objects.lease, _, reason = got(objects, client, ("/apis/coordination.k8s.io/v1/namespaces/%s/leases/%s"):format(
    settings.configmap_namespace, settings.lease_name or "moonlb-allocator"), "the Lease of the leader")
  objects.has_lease = objects.lease ~= nil or reason == "NotFound"
  local slices = listed(objects, client, ("/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices"):format(namespace),
    { label_selector = "kubernetes.io/service-name=" .. name }, "its endpoints")
  for i, slice in ipairs(slices or {}) do slices[i] = endpoints.project(slice) end
  objects.slices = slices
  objects.events = events_of(objects, client, namespace, name)
end

--- The facts about a Service, from the API alone.
-- @tparam Client client  moonlb.kube.client
-- @tparam string key
-- @tparam table values  settings: `configmap`, `configmap_namespace`, and those of moonlb.allocator.engine
-- @treturn table
function cluster.facts(client, key, values)
  local objects = { unknown = { "what the nodes hear of each other and of the LAN (no daemon was asked)" }, nodes = {} }
  local services, message, reason = listed(objects, client, "/api/v1/services", {}, "the Services")
  objects.services = services or {}
  if services then
    add_extras(objects, client, key, values)
  elseif reason == "Forbidden" then
    objects.forbidden = { { what = "read Services (with these credentials)", message = message } }
  else
    objects.api = { message = message, reason = reason }
  end
  return facts.of_objects(key, objects, setmetatable({
    configmap = values.configmap_namespace .. "/" .. values.configmap }, { __index = values }))
end

return cluster
