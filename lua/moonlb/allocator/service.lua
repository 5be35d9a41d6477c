--- What a Service object says to the allocator: its addresses, what its user asks for, its ports. Pure.
-- @module moonlb.allocator.service
local address = require("moonlb.core.address")
local family = require("moonlb.allocator.family")
local fields = require("moonlb.allocator.fields")

local service = {}

--- How firmly a Service holds an address. ASKED: it only asks for it. SEEN: its status, its lease, or a field of a
-- Service that is not ours says so. GRANTED: an allocator has decided.
service.ASKED, service.SEEN, service.GRANTED = 1, 2, 3

local MAX_ADDRESSES, MAX_TEXT = 16, 60
local EMPTY = setmetatable({}, { __metatable = false,
  __newindex = function() error("this table of the Service is read only", 2) end })

local function text(value)
  return type(value) == "string" and value or nil
end

local function map(value)
  return type(value) == "table" and value or EMPTY
end

--- The addresses of a comma list: canonical, each once, in its order; `0.0.0.0` and `::` are among them.
-- @tparam string|nil list
-- @treturn table|nil  nil when nothing is in it
-- @treturn string|nil  what is wrong with its first bad item
function service.parse_list(list)
  if not list then return nil end
  local addresses, seen, wrong
  for item in list:gmatch("[^,]+") do
    item = item:match("^%s*(.-)%s*$")
    local canonical, problem
    if item ~= "" then canonical, problem = address.canonical(item) end
    if canonical and not (seen and seen[canonical]) then
      addresses, seen = addresses or {}, seen or {}
      addresses[#addresses + 1], seen[canonical] = canonical, true
    elseif not canonical and item ~= "" then
      wrong = wrong or ("%q is %s"):format(item:sub(1, MAX_TEXT), problem)
    end
  end
  if addresses and #addresses > MAX_ADDRESSES then
    return nil, ("%d addresses, at most %d are possible"):format(#addresses, MAX_ADDRESSES)
  end
  return addresses, wrong
end

--- Whether an address stands for DHCP.
function service.is_unspecified(canonical)
  return canonical == "0.0.0.0" or canonical == "::"
end

local function index_of(list, wanted)
  for i, item in ipairs(list) do
    if item == wanted then return i end
  end
  return nil
end

local function same_members(a, b)
  if #a ~= #b then return false end
  for _, item in ipairs(a) do
    if not index_of(b, item) then return false end
  end
  return true
end

--- The (protocol, port) pairs as one sorted text, `"TCP/443,TCP/80"`; empty without ports.
function service.port_signature(spec)
  local first = spec.ports and spec.ports[1]
  if not first then return "" end
  local ports = {}
  for _, port in ipairs(spec.ports or EMPTY) do
    local number = type(port) == "table" and math.tointeger(tonumber(port.port))
    if number then ports[#ports + 1] = (text(port.protocol) or "TCP") .. "/" .. number end
  end
  table.sort(ports)
  return table.concat(ports, ",")
end

local function is_our_class(class, settings)
  if class == nil then return not settings.lb_class_only end
  return class == (settings.lb_class_name or fields.CLASS)
end

-- Why moonlb leaves a Service alone; nil when it does not.
local function why_ignored(spec, annotations, settings)
  local class = text(spec.loadBalancerClass)
  if spec.type ~= "LoadBalancer" then return "type is " .. (text(spec.type) or "ClusterIP") end
  if annotations[fields.IGNORE] == "true" then return "annotation " .. fields.IGNORE end
  if is_our_class(class, settings) then return nil end
  return class and "loadBalancerClass is " .. class or "it has no loadBalancerClass"
end

-- The user changed `spec.loadBalancerIP` alone: it replaces the assigned address of its family.
local function replaced(assigned, wanted)
  if service.is_unspecified(wanted) then return { wanted } end
  local list, found = {}, false
  for i, item in ipairs(assigned) do
    local is_same = family.of(item) == family.of(wanted) and not found
    list[i] = is_same and wanted or item
    found = found or is_same
  end
  return found and list or { wanted }
end

-- What the user wants of a Service whose assigned addresses we wrote: a field that differs from them is an edit, and
-- the annotation goes first. An empty field beside one that agrees is none: writing it back would fight its owner.
local function read_edit(record, annotation, spec_ip)
  local assigned = record.assigned
  local listed, wrong = service.parse_list(annotation)
  if wrong or (listed and not same_members(listed, assigned)) then
    record.request, record.request_error, record.is_edited = listed, wrong, true
    return
  end
  local single, problem = service.parse_list(spec_ip)
  if problem or (single and not index_of(assigned, single[1])) then
    record.request, record.request_error = single and replaced(assigned, single[1]), problem
    record.is_edited = true
  elseif not listed and not single then
    record.is_cleared = true
  end
end

-- kube-vip's provider sets label and address in one write, so the label says that an allocator has decided.
local function read_first(record, annotation, spec_ip, labels)
  local listed, wrong = service.parse_list(annotation)
  if not listed and not wrong then listed, wrong = service.parse_list(spec_ip) end
  if listed and labels[fields.LABEL] == fields.LABEL_VALUE then
    record.assigned, record.is_adopted = listed, true
  else
    record.request, record.request_error = listed, wrong
  end
end

local function hold(record, list, level)
  for _, item in ipairs(list or EMPTY) do
    if not service.is_unspecified(item) then
      record.holds = record.holds or {}
      record.holds[item] = math.max(record.holds[item] or 0, level)
    end
  end
end

-- In use: every address in annotation, spec, status or lease, of any LoadBalancer Service of any class.
local function read_holds(record, annotations, annotation, spec_ip)
  local ours = not record.why_ignored
  local asked = ours and service.ASKED or service.SEEN
  hold(record, (service.parse_list(annotation)), asked)
  hold(record, (service.parse_list(spec_ip)), asked)
  hold(record, record.assigned, ours and service.GRANTED or service.SEEN)
  local lease = text(annotations[fields.LEASE])
  hold(record, (service.parse_list(lease and lease:match("^%S+"))), service.SEEN)
  for _, entry in ipairs(map(map(map(record.object.status).loadBalancer).ingress)) do
    hold(record, (service.parse_list(text(map(entry).ip))), service.SEEN)
  end
end

-- The node that is to announce, or does.
local function read_home(annotations)
  local place, host = text(annotations[fields.PLACE]), text(annotations[fields.HOST])
  local first = place and place:match("^[^,]+") or host
  return first ~= "" and first or nil
end

local function read_assigned(record, annotations)
  local assigned = text(annotations[fields.ASSIGNED])
  if not assigned then return end
  record.has_assigned = true
  local list, by = assigned:match("^(%S+)%s*(%S*)$")
  record.assigned = (service.parse_list(list))
  record.by = by ~= "" and by or nil
end

-- Policies index these without asking whether they are there.
local function fill(object)
  local metadata = object.metadata
  object.spec = map(object.spec)
  metadata.labels, metadata.annotations = map(metadata.labels), map(metadata.annotations)
  if object.spec ~= EMPTY then object.spec.ports = map(object.spec.ports) end
end

--- Read a Service.
-- @tparam table object  as the API has it; anything may be missing or of a wrong type but metadata and its name. It
-- becomes the allocator's: `metadata.labels`, `metadata.annotations` and `spec.ports` are filled in when they are
-- missing
-- @tparam table settings  `lb_class_name`, `lb_class_only`
-- @treturn table|nil  nil when the Service is no LoadBalancer and has no field of ours. Else a record: `key`,
-- `namespace`, `name`, `labels`, `created`, `version`, `object`, `why_ignored`, `is_load_balancer`, `is_deleting`,
-- `ports`,
-- `is_cluster_policy`, `wanted` (see `moonlb.allocator.family`), `assigned` and `by` (what an allocator wrote),
-- `is_adopted` (kube-vip's did), `has_assigned`, `request` (addresses the user asks for), `request_error`,
-- `is_edited`, `is_cleared`, `holds` {address = level}, `home`: the node that is to announce it, or does
function service.read(object, settings)
  fill(object)
  local metadata, spec = object.metadata, object.spec
  local annotations = metadata.annotations
  local namespace = text(metadata.namespace) or "default"
  local record = {
    key = namespace .. "/" .. metadata.name, namespace = namespace, name = metadata.name, object = object,
    labels = metadata.labels,
    created = text(metadata.creationTimestamp) or "~",	-- not made yet: after all that are
    version = text(metadata.resourceVersion),
    is_deleting = text(metadata.deletionTimestamp) and true or nil,
    is_load_balancer = spec.type == "LoadBalancer",
  }
  record.why_ignored = why_ignored(spec, annotations, settings)
  read_assigned(record, annotations)
  if not record.is_load_balancer then return record.has_assigned and record or nil end
  local annotation, spec_ip = text(annotations[fields.ADDRESSES]), text(spec.loadBalancerIP)
  record.ports = service.port_signature(spec)
  record.is_cluster_policy = spec.externalTrafficPolicy ~= "Local"
  record.wanted = family.wanted(spec)
  if record.assigned then
    read_edit(record, annotation, spec_ip)
  else
    read_first(record, annotation, spec_ip, metadata.labels)
  end
  record.home = read_home(annotations)
  read_holds(record, annotations, annotation, spec_ip)
  return record
end

--- The record of a Service as it would be had it been made just now: no address, and nobody asked for one.
function service.anew(record)
  return { key = record.key, namespace = record.namespace, name = record.name, object = record.object,
    labels = record.labels, created = record.created, version = record.version, ports = record.ports,
    is_load_balancer = record.is_load_balancer, is_cluster_policy = record.is_cluster_policy, wanted = record.wanted }
end

--- Take from an object what allocators and announcers wrote into it.
-- @tparam table object  a copy: it is changed
-- @treturn table  the object
function service.as_made(object)
  local metadata = object.metadata
  for _, name in ipairs({ fields.ASSIGNED, fields.ADDRESSES, fields.PLACE, fields.HOST }) do
    metadata.annotations[name] = nil
  end
  metadata.labels[fields.LABEL] = nil
  object.spec.loadBalancerIP, object.status = nil, nil
  return object
end

--- The order in which Services are decided, and which of two keeps an address: creationTimestamp, namespace, name.
function service.is_older(a, b)
  if a.created ~= b.created then return a.created < b.created end
  if a.namespace ~= b.namespace then return a.namespace < b.namespace end
  return a.name < b.name
end

return service
