--- Tables: what `kubectl get` prints is made by the server (meta/v1 Table). Columns as kube-apiserver shows them.
-- @module moonlb.sandbox.tables
local clock = require("moonlb.sandbox.clock")
local json = require("moonlb.sandbox.json")

local tables = {}

local function two(value, unit, rest, rest_unit)
  return rest == 0 and value .. unit or value .. unit .. rest .. rest_unit
end

--- A duration as kubectl writes ages: `5s`, `2m5s`, `8m`, `3h20m`, `2d3h`, `12d`.
-- @tparam integer seconds
function tables.duration(seconds)
  local minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
  if seconds < 0 then
    return seconds < -2 and "<invalid>" or "0s"
  elseif seconds < 120 then
    return seconds .. "s"
  elseif minutes < 10 then
    return two(minutes, "m", seconds % 60, "s")
  elseif minutes < 180 then
    return minutes .. "m"
  elseif hours < 8 then
    return two(hours, "h", minutes % 60, "m")
  elseif hours < 48 then
    return hours .. "h"
  elseif days < 8 then
    return two(days, "d", hours % 24, "h")
  elseif days < 730 then
    return days .. "d"
  end
  return two(days // 365, "y", days % 365, "d")
end

local function age_of(text, now)
  local at = text and clock.seconds(text)
  return at and tables.duration(now - at) or "<unknown>"
end

local function age(object, now)
  return age_of(object.metadata.creationTimestamp, now)
end

local function join(list, of, limit)
  local parts = {}
  for _, element in ipairs(list or {}) do
    parts[#parts + 1] = of(element)
  end
  if limit and #parts > limit then
    return table.concat(parts, ",", 1, limit) .. (" + %d more..."):format(#parts - limit)
  end
  return #parts > 0 and table.concat(parts, ",") or "<none>"
end

local function pairs_text(map)
  local parts = {}
  for key, value in pairs(map or {}) do
    parts[#parts + 1] = key .. "=" .. value
  end
  table.sort(parts)
  return #parts > 0 and table.concat(parts, ",") or "<none>"
end

local function count(map)
  local n = 0
  for _ in pairs(map or {}) do
    n = n + 1
  end
  return n
end

local function or_none(value)
  return (value == nil or value == "") and "<none>" or value
end

-- ---- Services ----

local function external_ip(object)
  local spec = object.spec
  if spec.type == "ExternalName" then
    return spec.externalName
  end
  local list = {}
  if spec.type == "LoadBalancer" then
    for _, ingress in ipairs(json.at(object, "status", "loadBalancer", "ingress") or {}) do
      list[#list + 1] = ingress.ip and ingress.ip ~= "" and ingress.ip or ingress.hostname
    end
  end
  for _, ip in ipairs(spec.externalIPs or {}) do
    list[#list + 1] = ip
  end
  if #list > 0 then
    return table.concat(list, ",")
  end
  return spec.type == "LoadBalancer" and "<pending>" or "<none>"
end

local function port_text(port)
  if (port.nodePort or 0) ~= 0 then
    return ("%d:%d/%s"):format(port.port, port.nodePort, port.protocol)
  end
  return ("%d/%s"):format(port.port, port.protocol)
end

-- ---- Nodes, Events, EndpointSlices, Deployments ----

local function node_status(object)
  local word = "Unknown"
  for _, condition in ipairs(json.at(object, "status", "conditions") or {}) do
    if condition.type == "Ready" then
      word = condition.status == "True" and "Ready" or "NotReady"
    end
  end
  return json.at(object, "spec", "unschedulable") and word .. ",SchedulingDisabled" or word
end

local function node_roles(object)
  local roles = {}
  for key in pairs(object.metadata.labels or {}) do
    roles[#roles + 1] = key:match("^node%-role%.kubernetes%.io/(.+)$")
  end
  table.sort(roles)
  return #roles > 0 and table.concat(roles, ",") or "<none>"
end

local function node_address(kind)
  return function(object)
    for _, entry in ipairs(json.at(object, "status", "addresses") or {}) do
      if entry.type == kind then
        return entry.address
      end
    end
    return "<none>"
  end
end

local function node_info(name)
  return function(object)
    local text = json.at(object, "status", "nodeInfo", name)
    return (text == nil or text == "") and "<unknown>" or text
  end
end

local function event_first(object)
  return object.firstTimestamp or object.eventTime
end

local function event_last(object)
  return json.at(object, "series", "lastObservedTime") or object.lastTimestamp or event_first(object)
end

local function event_object(object)
  local about = object.involvedObject or {}
  return ((about.kind or ""):lower()) .. "/" .. (about.name or "")
end

local function event_source(object)
  local source = object.source or {}
  local component = source.component or object.reportingComponent or ""
  return source.host and component .. ", " .. source.host or component
end

local function slice_ports(object)
  return join(object.ports, function(port) return tostring(port.port or "*") end, 3):gsub("^<none>$", "<unset>")
end

local function slice_addresses(object)
  local list = {}
  for _, endpoint in ipairs(object.endpoints or {}) do
    table.move(endpoint.addresses or {}, 1, #(endpoint.addresses or {}), #list + 1, list)
  end
  return (join(list, tostring, 3):gsub("^<none>$", "<unset>"))
end

local function endpoints_text(object)
  local list = {}
  for _, subset in ipairs(object.subsets or {}) do
    for _, entry in ipairs(subset.addresses or {}) do
      for _, port in ipairs(subset.ports or { {} }) do
        list[#list + 1] = port.port and entry.ip .. ":" .. port.port or entry.ip
      end
    end
  end
  return join(list, tostring, 3)
end

local function number_at(...)
  local path = table.pack(...)
  return function(object)
    return json.at(object, table.unpack(path, 1, path.n)) or 0
  end
end

local function containers(name)
  return function(object)
    return join(json.at(object, "spec", "template", "spec", "containers"), function(c) return c[name] or "" end)
  end
end

-- Column: name, function(object, now) -> cell[, type[, priority]].
local name_column = { "Name", function(object) return object.metadata.name end }
local age_column = { "Age", age }

local columns = {
  services = {
    name_column,
    { "Type", function(object) return object.spec.type end },
    { "Cluster-IP", function(object) return or_none(object.spec.clusterIP) end },
    { "External-IP", external_ip },
    { "Port(s)", function(object) return join(object.spec.ports, port_text) end },
    age_column,
    { "Selector", function(object) return pairs_text(object.spec.selector) end, "string", 1 },
  },
  configmaps = {
    name_column,
    { "Data", function(object) return count(object.data) + count(object.binaryData) end, "integer" },
    age_column,
  },
  secrets = {
    name_column,
    { "Type", function(object) return object.type end },
    { "Data", function(object) return count(object.data) end, "integer" },
    age_column,
  },
  serviceaccounts = {
    name_column,
    { "Secrets", function(object) return #(object.secrets or {}) end, "integer" },
    age_column,
  },
  namespaces = {
    name_column,
    { "Status", function(object) return json.at(object, "status", "phase") end },
    age_column,
  },
  leases = {
    name_column,
    { "Holder", function(object) return json.at(object, "spec", "holderIdentity") or "" end },
    age_column,
  },
  nodes = {
    name_column,
    { "Status", node_status },
    { "Roles", node_roles },
    age_column,
    { "Version", function(object) return json.at(object, "status", "nodeInfo", "kubeletVersion") or "" end },
    { "Internal-IP", node_address("InternalIP"), "string", 1 },
    { "External-IP", node_address("ExternalIP"), "string", 1 },
    { "OS-Image", node_info("osImage"), "string", 1 },
    { "Kernel-Version", node_info("kernelVersion"), "string", 1 },
    { "Container-Runtime", node_info("containerRuntimeVersion"), "string", 1 },
  },
  events = {
    { "Last Seen", function(object, now) return age_of(event_last(object), now) end },
    { "Type", function(object) return object.type or "" end },
    { "Reason", function(object) return object.reason or "" end },
    { "Object", event_object },
    { "Subobject", function(object) return json.at(object, "involvedObject", "fieldPath") or "" end, "string", 1 },
    { "Source", event_source, "string", 1 },
    { "Message", function(object) return ((object.message or ""):gsub("%s+$", "")) end },
    { "First Seen", function(object, now) return age_of(event_first(object), now) end, "string", 1 },
    { "Count", function(object) return json.at(object, "series", "count") or object.count or 1 end, "integer", 1 },
    { "Name", function(object) return object.metadata.name end, "string", 1 },
  },
  endpointslices = {
    name_column,
    { "AddressType", function(object) return object.addressType end },
    { "Ports", function(object) return (slice_ports(object)) end },
    { "Endpoints", slice_addresses },
    age_column,
  },
  endpoints = { name_column, { "Endpoints", endpoints_text }, age_column },
  deployments = {
    name_column,
    {
      "Ready",
      function(object)
        local ready, wanted = json.at(object, "status", "readyReplicas"), json.at(object, "spec", "replicas")
        return ("%d/%d"):format(ready or 0, wanted or 0)
      end,
    },
    { "Up-to-date", number_at("status", "updatedReplicas"), "integer" },
    { "Available", number_at("status", "availableReplicas"), "integer" },
    age_column,
    { "Containers", containers("name"), "string", 1 },
    { "Images", containers("image"), "string", 1 },
    { "Selector", function(object) return pairs_text(json.at(object, "spec", "selector", "matchLabels")) end, nil, 1 },
  },
}
local plain_columns = { name_column, { "Age", age } }

--- The column definitions of a resource.
-- @tparam string plural
-- @treturn table  a JSON list
function tables.definitions(plural)
  local list = json.list()
  for i, column in ipairs(columns[plural] or plain_columns) do
    list[i] = {
      name = column[1], type = column[3] or "string", format = column[1] == "Name" and "name" or "",
      description = "", priority = column[4] or 0,
    }
  end
  return list
end

--- One row.
-- @tparam string plural
-- @tparam table object  as stored
-- @tparam table|nil shown  what `includeObject` asks for, in the form the client sees; nil for none
-- @tparam integer now  seconds since 1970: ages are text, made here
function tables.row(plural, object, shown, now)
  local cells = json.list()
  for i, column in ipairs(columns[plural] or plain_columns) do
    local cell = column[2](object, now)
    cells[i] = cell == nil and "" or cell
  end
  return { cells = cells, object = shown or json.null }
end

return tables
