--- Kinds served in two versions are stored in one: Events as core/v1 writes them, EndpointSlices as
-- discovery.k8s.io/v1 does.
-- @module moonlb.sandbox.versions
local versions = {}

-- core/v1 name -> events.k8s.io/v1 name
local event_names = {
  involvedObject = "regarding", message = "note", source = "deprecatedSource",
  firstTimestamp = "deprecatedFirstTimestamp", lastTimestamp = "deprecatedLastTimestamp",
  count = "deprecatedCount", reportingComponent = "reportingController",
}

local function renamed(object, names)
  local copy = {}
  for name, value in pairs(object) do
    copy[names[name] or name] = value
  end
  return copy
end

local function inverse(names)
  local back = {}
  for name, other in pairs(names) do
    back[other] = name
  end
  return back
end

local old_event_names = inverse(event_names)

--- A stored Event as events.k8s.io/v1 shows it.
function versions.event_out(object)
  return renamed(object, event_names)
end

--- An events.k8s.io/v1 Event as it is stored.
function versions.event_in(object)
  return renamed(object, old_event_names)
end

local host, zone = "kubernetes.io/hostname", "topology.kubernetes.io/zone"

local function with_endpoints(object, convert)
  local copy = renamed(object, {})
  if object.endpoints then
    copy.endpoints = setmetatable({}, getmetatable(object.endpoints))
    for i, endpoint in ipairs(object.endpoints) do
      copy.endpoints[i] = convert(renamed(endpoint, {}))
    end
  end
  return copy
end

--- A stored EndpointSlice as v1beta1 shows it: node and zone are in `topology`.
function versions.slice_out(object)
  return with_endpoints(object, function(endpoint)
    local topology = renamed(endpoint.deprecatedTopology or {}, {})
    topology[host], topology[zone] = endpoint.nodeName, endpoint.zone
    endpoint.deprecatedTopology, endpoint.zone = nil, nil
    endpoint.topology = next(topology) and topology or nil
    return endpoint
  end)
end

--- A v1beta1 EndpointSlice as it is stored.
function versions.slice_in(object)
  return with_endpoints(object, function(endpoint)
    local topology = renamed(endpoint.topology or {}, {})
    endpoint.nodeName = endpoint.nodeName or topology[host]
    endpoint.zone = topology[zone]
    topology[host], topology[zone], endpoint.topology = nil, nil, nil
    endpoint.deprecatedTopology = next(topology) and topology or nil
    return endpoint
  end)
end

return versions
