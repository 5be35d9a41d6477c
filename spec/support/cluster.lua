--- Services without an API server: an informer's face, a client's face, an events recorder's face, one table behind.
local cjson = require("cjson")

local cluster = {}

local Cluster = {}
Cluster.__index = Cluster

--- `services`, `client` and `recorder` go to moonlb.announcer.new; `writes` and `events` are what it made of them.
function cluster.new()
  local self = setmetatable({ objects = {}, listeners = {}, writes = {}, events = {}, version = 0,
    slices = {}, slice_version = "v1" }, Cluster)
  self.services = setmetatable({ synced = true, count = 0 }, { __index = {
    get = function(_, key) return self.objects[key] end,
    each = function() return pairs(self.objects) end,
    wait_synced = function() return true end,
    on = function(_, fn) self.listeners[#self.listeners + 1] = fn end,
    absorb = function(_, object) self:put(object) end,
  } })
  self.client = { merge_patch = function(_, path, patch) return self:merge(path, patch) end,
    get = function(_, path) return self:discover(path) end,
    list = function(_, path, _, on_page)
      local is_slices = path:find("/" .. self.slice_version .. "/", 1, true) and path:find("/endpointslices$")
      on_page(is_slices and self.slices or {})
      return tostring(self.version)
    end,
    watch = function(_, _, _, on_event)
      self.on_slice = on_event
      return { close = function() end }
    end }
  self.recorder = { emit = function(_, object, type, reason, message)
    self.events[#self.events + 1] = ("%s %s %s %s"):format(object.metadata.name, type, reason, message)
  end }
  return self
end

--- Enter or change an object; the listeners hear it.
function Cluster:put(object)
  local key = object.metadata.namespace .. "/" .. object.metadata.name
  local old = self.objects[key]
  self.version = self.version + 1
  object.metadata.resourceVersion = tostring(self.version)
  self.objects[key] = object
  for _, fn in ipairs(self.listeners) do fn(key, object, old) end
end

-- Which group versions of EndpointSlices the server has: `slice_version`.
function Cluster:discover(path)
  if path ~= "/apis/discovery.k8s.io/" .. self.slice_version then return nil, "not found", "NotFound" end
  return { kind = "APIResourceList" }
end

--- Enter or change an EndpointSlice of the Service; `list` is an array of endpoints.
function Cluster:slice(name, service, list)
  self.version = self.version + 1
  local slice = { metadata = { namespace = "demo", name = name, resourceVersion = tostring(self.version),
    labels = { ["kubernetes.io/service-name"] = service } }, endpoints = list }
  if self.on_slice then return self.on_slice("MODIFIED", slice) end
  self.slices[#self.slices + 1] = slice
end

local function merge(target, patch)
  for key, value in pairs(patch) do
    if value == cjson.null then
      target[key] = nil
    elseif type(value) == "table" and #value == 0 and type(target[key]) == "table" then
      merge(target[key], value)
    else
      target[key] = value
    end
  end
end

-- RFC 7396, with the API's check of resourceVersion; the patch goes over the wire as JSON.
function Cluster:merge(path, patch)
  local namespace, name = path:match("^/api/v1/namespaces/([^/]+)/services/([^/]+)/status$")
  local object = self.objects[namespace .. "/" .. name]
  if not object then return nil, "not found", "NotFound" end
  patch = cjson.decode(cjson.encode(patch))
  if patch.metadata.resourceVersion ~= object.metadata.resourceVersion then return nil, "conflict", "Conflict" end
  patch.metadata.resourceVersion = nil
  object = cjson.decode(cjson.encode(object))
  merge(object, patch)
  self.writes[#self.writes + 1] = path
  self:put(object)
  return object
end

--- A Service with assigned addresses ("a,b"); `changes` go into spec, `annotations` into metadata.
function Cluster:service(name, addresses, changes, annotations)
  local object = { metadata = { namespace = "demo", name = name, uid = "uid-" .. name,
    creationTimestamp = "2026-01-01T00:00:00Z", annotations = annotations or {} },
    spec = { type = "LoadBalancer", ports = { { port = 80, protocol = "TCP" } } }, status = {} }
  object.metadata.annotations["moonlb.io/assigned"] = addresses and addresses .. " default/static"
  for key, value in pairs(changes or {}) do object.spec[key] = value end
  self:put(object)
end

--- Delete it.
function Cluster:delete(name)
  local key = "demo/" .. name
  local old = self.objects[key]
  self.objects[key] = nil
  for _, fn in ipairs(self.listeners) do fn(key, nil, old) end
end

--- The addresses in its status, as text.
function Cluster:status(name)
  local balancer = self.objects["demo/" .. name].status.loadBalancer
  local list = {}
  for i, entry in ipairs(balancer and balancer.ingress or {}) do list[i] = entry.ip end
  return table.concat(list, ",")
end

--- Has an Event with this text been recorded?
function Cluster:has_event(text)
  for _, event in ipairs(self.events) do
    if event:find(text, 1, true) then return event end
  end
  return nil
end

return cluster
