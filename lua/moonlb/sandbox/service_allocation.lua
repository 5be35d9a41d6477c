--- What the API server hands out for a Service: cluster addresses, IP families, node ports.
-- What is taken is read off the stored Services as they change, so a refused write or a dry run needs no undo.
-- @module moonlb.sandbox.service_allocation
local address = require("moonlb.core.address")
local json = require("moonlb.sandbox.json")
local status = require("moonlb.sandbox.status")

local allocation = {}

local Allocator = { __name = "moonlb.sandbox.service_allocation.allocator" }
Allocator.__index = Allocator

--- Hand out cluster addresses and node ports.
-- @tparam table store
-- @tparam table options  `cluster_cidrs={v4, v6}`, `node_ports={first=, last=}`
-- @treturn Allocator
function allocation.new(store, options)
  local self = setmetatable({
    range = address.set(), taken = address.set(), families = {}, ports = {},
    first = options.node_ports.first, last = options.node_ports.last, next = options.node_ports.first,
  }, Allocator)
  for _, cidr in ipairs(options.cluster_cidrs) do
    local item = assert(address.item(cidr))
    self.range:add(item.first, item.last)
    self.taken:add(item.first)
    self.families[#self.families + 1] = item.family == 4 and "IPv4" or "IPv6"
  end
  store:watch("services", nil, function(event)
    self:forget(event.old and event.old.object)
    self:remember(event.type ~= "DELETED" and event.record.object)
  end)
  return self
end

local function each_port(spec, fn)
  for _, port in ipairs(spec.ports or {}) do
    if (port.nodePort or 0) ~= 0 then
      fn(port.protocol .. "/" .. port.nodePort)
    end
  end
  if (spec.healthCheckNodePort or 0) ~= 0 then
    fn("TCP/" .. spec.healthCheckNodePort)
  end
end

local function cluster_addresses(spec)
  local list = {}
  for _, ip in ipairs(spec.clusterIPs or {}) do
    if ip ~= "None" then
      list[#list + 1] = ip
    end
  end
  return list
end

function Allocator:remember(object)
  if object then
    each_port(object.spec, function(port) self.ports[port] = true end)
    for _, ip in ipairs(cluster_addresses(object.spec)) do
      self.taken:add(ip)
    end
  end
end

function Allocator:forget(object)
  if object then
    each_port(object.spec, function(port) self.ports[port] = nil end)
    for _, ip in ipairs(cluster_addresses(object.spec)) do
      self.taken:remove(ip)
    end
  end
end

-- A free node port for a protocol, each in turn; nil when all are taken.
function Allocator:node_port(protocol, also_taken)
  for _ = self.first, self.last do
    local port = self.next
    self.next = port < self.last and port + 1 or self.first
    local key = protocol .. "/" .. port
    if not self.ports[key] and not also_taken[key] then
      also_taken[key] = true
      return port
    end
  end
end

-- ---- families and cluster addresses ----

-- The families a Service gets (order counts), or nil and a cause.
local function choose_families(allocator, spec)
  local wanted = spec.ipFamilies or json.list()
  local has = {}
  for _, family in ipairs(allocator.families) do
    has[family] = true
  end
  for i, family in ipairs(wanted) do
    if not has[family] then
      return nil, status.invalid_value(("spec.ipFamilies[%d]"):format(i - 1), family, "not configured on this cluster")
    end
  end
  local policy = spec.ipFamilyPolicy or (#wanted > 1 and "RequireDualStack")
    or (spec.clusterIP == "None" and not spec.selector and "RequireDualStack") or "SingleStack"
  local families = json.list({ wanted[1] or allocator.families[1] })
  if policy ~= "SingleStack" then
    for _, family in ipairs(allocator.families) do
      if family ~= families[1] and #families < 2 then
        families[2] = family
      end
    end
    if #families < 2 and spec.ipFamilyPolicy == "RequireDualStack" then
      return nil, status.invalid_value("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack")
    end
  elseif #wanted > 1 then
    return nil, status.invalid_value("spec.ipFamilyPolicy", policy,
      "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified")
  end
  return families, #families == 1 and policy == "RequireDualStack" and "SingleStack" or policy
end

local function check_given(allocator, ip, family, field)
  local canonical, number = address.canonical(ip)
  if not canonical then
    return status.invalid_value(field, ip, "must be a valid IP address")
  elseif (number == 4 and "IPv4" or "IPv6") ~= family then
    return status.invalid_value(field, ip, "expected an " .. family .. " value as indicated by `spec.ipFamilies`")
  elseif not allocator.range:contains(canonical) then
    return status.invalid_value(field, ip, "failed to allocate IP " .. ip
      .. ": the provided IP is not in the valid range")
  elseif allocator.taken:contains(canonical) then
    return status.invalid_value(field, ip, "failed to allocate IP " .. ip .. ": provided IP is already allocated")
  end
end

-- Cluster addresses that the spec has not yet, one for each family.
local function allocate_addresses(allocator, spec, old_addresses)
  spec.clusterIPs = spec.clusterIPs or json.list()
  if spec.clusterIP and spec.clusterIP ~= "" and not spec.clusterIPs[1] then
    spec.clusterIPs[1] = spec.clusterIP
  end
  for i, family in ipairs(spec.ipFamilies) do
    local given = spec.clusterIPs[i]
    if not given or given == "" then
      local free = allocator.range:free(allocator.taken, family == "IPv4" and 4 or 6)
      if not free then
        return nil, status.failure(500, "InternalError",
          "Internal error occurred: failed to allocate a serviceIP: range is full")
      end
      spec.clusterIPs[i] = free
    elseif not old_addresses[given] then
      local cause = check_given(allocator, given, family, ("spec.clusterIPs[%d]"):format(i - 1))
      if cause then
        return nil, { cause }
      end
    end
  end
  for i = #spec.ipFamilies + 1, #spec.clusterIPs do
    spec.clusterIPs[i] = nil
  end
  spec.clusterIP = spec.clusterIPs[1]
  return true
end

local function assign_addresses(allocator, spec, old)
  if spec.type == "ExternalName" then
    for _, name in ipairs({ "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy" }) do
      spec[name] = nil
    end
    return true
  end
  local families, policy = choose_families(allocator, spec)
  if not families then
    return nil, { policy }
  end
  spec.ipFamilies, spec.ipFamilyPolicy = families, policy
  if spec.clusterIP == "None" then
    spec.clusterIPs = json.list({ "None" })
    return true
  end
  local old_addresses = {}
  for _, ip in ipairs(old and old.clusterIPs or {}) do
    old_addresses[ip] = true
  end
  return allocate_addresses(allocator, spec, old_addresses)
end

-- ---- node ports ----

local function full_range()
  return nil, status.failure(500, "InternalError",
    "Internal error occurred: failed to allocate a nodePort: range is full")
end

local function check_node_port(allocator, port, field, own)
  local key = port.protocol .. "/" .. port.nodePort
  if own[key] then
    return nil
  elseif port.nodePort < allocator.first or port.nodePort > allocator.last then
    return status.invalid_value(field, port.nodePort, ("provided port is not in the valid range. "
      .. "The range of valid ports is %d-%d"):format(allocator.first, allocator.last))
  elseif allocator.ports[key] then
    return status.invalid_value(field, port.nodePort, "provided port is already allocated")
  end
end

local function assign_node_ports(allocator, spec, old)
  local own, picked = {}, {}
  if old then
    each_port(old, function(port) own[port] = true end)
  end
  local wants = spec.type == "NodePort" or (spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts)
  for i, port in ipairs(spec.ports or {}) do
    if (port.nodePort or 0) ~= 0 then
      local cause = check_node_port(allocator, port, ("spec.ports[%d].nodePort"):format(i - 1), own)
      if cause then
        return nil, { cause }
      end
      picked[port.protocol .. "/" .. port.nodePort] = true
    end
  end
  for _, port in ipairs(spec.ports or {}) do
    if wants and (port.nodePort or 0) == 0 then
      port.nodePort = allocator:node_port(port.protocol, picked)
      if not port.nodePort then
        return full_range()
      end
    elseif port.nodePort == 0 then
      port.nodePort = nil
    end
  end
  if spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Local" and (spec.healthCheckNodePort or 0) == 0 then
    spec.healthCheckNodePort = allocator:node_port("TCP", picked)
    if not spec.healthCheckNodePort then
      return full_range()
    end
  end
  return true
end

--- Give a new, validated Service its addresses and node ports. Changes `spec`.
-- @treturn boolean  true, or nil and causes (a list) or a Status
function allocation.assign(allocator, spec, old)
  local ok, refused = assign_addresses(allocator, spec, old)
  if not ok then
    return nil, refused
  end
  return assign_node_ports(allocator, spec, old)
end

return allocation
