--- EndpointSlices, merged over slices, pages and families: where externalTrafficPolicy Local may be announced.
-- discovery.k8s.io/v1, and v1beta1 as servers before 1.21 have it. Pure.
-- @module moonlb.announcer.endpoints
local endpoints = {}

local Endpoints = { __name = "moonlb.announcer.endpoints" }
Endpoints.__index = Endpoints

local SERVICE_LABEL = "kubernetes.io/service-name"

-- v1beta1 before 1.20 has no nodeName, only the node's label in `topology`.
local function node_of(endpoint)
  if type(endpoint.nodeName) == "string" then return endpoint.nodeName end
  return type(endpoint.topology) == "table" and endpoint.topology["kubernetes.io/hostname"] or nil
end

-- May traffic go there? An absent `ready` is to be read as true, an absent `serving` as `ready`
-- (discovery/v1 EndpointConditions). A terminating endpoint that still serves qualifies.
local function is_usable(endpoint)
  local conditions = type(endpoint.conditions) == "table" and endpoint.conditions or {}
  if conditions.ready ~= false then return true end
  return conditions.serving == true and conditions.terminating == true
end

--- What an informer has to keep of a slice: the Service, and the usable endpoints' nodes.
-- @tparam table slice  the object as the API has it
-- @treturn table  `{metadata=, service=, nodes={name -> count}, usable=count}`
function endpoints.project(slice)
  local labels = slice.metadata.labels or {}
  local nodes, usable = {}, 0
  for _, endpoint in ipairs(type(slice.endpoints) == "table" and slice.endpoints or {}) do
    if is_usable(endpoint) then
      usable = usable + 1
      local node = node_of(endpoint)
      if node then nodes[node] = (nodes[node] or 0) + 1 end
    end
  end
  local name = labels[SERVICE_LABEL]
  return {
    metadata = { namespace = slice.metadata.namespace, name = slice.metadata.name, uid = slice.metadata.uid,
      resourceVersion = slice.metadata.resourceVersion },
    service = name and slice.metadata.namespace .. "/" .. name, nodes = nodes, usable = usable,
  }
end

--- An empty index.
function endpoints.new()
  return setmetatable({ slices = {}, by_service = {} }, Endpoints)
end

--- Enter, change or (with nil) remove a projected slice.
-- @treturn table  the keys of the Services concerned (0, 1 or 2)
function Endpoints:set(key, slice)
  local old, concerned = self.slices[key], {}
  if old and old.service then
    self.by_service[old.service][key] = nil
    if not next(self.by_service[old.service]) then self.by_service[old.service] = nil end
    concerned[1] = old.service
  end
  self.slices[key] = slice
  if slice and slice.service then
    self.by_service[slice.service] = self.by_service[slice.service] or {}
    self.by_service[slice.service][key] = true
    if slice.service ~= concerned[1] then concerned[#concerned + 1] = slice.service end
  end
  return concerned
end

--- How many usable endpoints the Service has: on `node`, and anywhere.
function Endpoints:count(service, node)
  local here, all = 0, 0
  for key in pairs(self.by_service[service] or {}) do
    here = here + (self.slices[key].nodes[node] or 0)
    all = all + self.slices[key].usable
  end
  return here, all
end

--- Where the usable endpoints of a Service are: {node = how many}.
function Endpoints:nodes_of(service)
  local nodes = {}
  for key in pairs(self.by_service[service] or {}) do
    for node, count in pairs(self.slices[key].nodes) do nodes[node] = (nodes[node] or 0) + count end
  end
  return nodes
end

--- The keys of all Services that have slices.
function Endpoints:services()
  local keys = {}
  for key in pairs(self.by_service) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

return endpoints
