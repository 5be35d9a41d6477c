--- What the API server fills in and refuses for a Service: defaults, validation, what a change may do.
-- Behaviour of 1.32 where it differs from older servers. Addresses and ports are `service_allocation`'s.
-- @module moonlb.sandbox.service
local address = require("moonlb.core.address")
local json = require("moonlb.sandbox.json")
local status = require("moonlb.sandbox.status")
local validation = require("moonlb.sandbox.validation")

local service = {}

local is_external = { NodePort = true, LoadBalancer = true }
local types = { "ClusterIP", "ExternalName", "LoadBalancer", "NodePort" }

-- ---- defaults ----

local function default_ports(spec)
  for _, port in ipairs(spec.ports or {}) do
    port.protocol = port.protocol or "TCP"
    if port.targetPort == nil or port.targetPort == 0 or port.targetPort == "" then
      port.targetPort = port.port
    end
  end
end

--- Fill in what a client may leave out. Changes `spec`.
function service.default(spec)
  spec.type = spec.type or "ClusterIP"
  spec.sessionAffinity = spec.sessionAffinity or "None"
  default_ports(spec)
  spec.publishNotReadyAddresses = spec.publishNotReadyAddresses or nil -- false is not written back
  if spec.sessionAffinity == "None" then
    spec.sessionAffinityConfig = nil
  elseif spec.sessionAffinity == "ClientIP" then
    spec.sessionAffinityConfig = spec.sessionAffinityConfig or {}
    local config = spec.sessionAffinityConfig
    config.clientIP = config.clientIP or {}
    config.clientIP.timeoutSeconds = config.clientIP.timeoutSeconds or 10800
  end
  if spec.type == "ExternalName" then
    return
  end
  spec.internalTrafficPolicy = spec.internalTrafficPolicy or "Cluster"
  if is_external[spec.type] or (spec.externalIPs and #spec.externalIPs > 0) then
    spec.externalTrafficPolicy = spec.externalTrafficPolicy or "Cluster"
  end
  if spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts == nil then
    spec.allocateLoadBalancerNodePorts = true
  end
end

-- ---- validation ----

local function one_of(causes, field, value, allowed)
  for _, word in ipairs(allowed) do
    if word == value then
      return
    end
  end
  causes[#causes + 1] = status.unsupported(field, value, allowed)
end

local function check_number(causes, field, value)
  if math.type(value) ~= "integer" or value < 1 or value > 65535 then
    causes[#causes + 1] = status.invalid_value(field, value, "must be between 1 and 65535, inclusive")
  end
end

local function check_port(causes, field, port, many, seen)
  if many and (port.name or "") == "" then
    causes[#causes + 1] = status.required(field .. ".name")
  elseif port.name and port.name ~= "" then
    local why = validation.dns1123_label(port.name)
    if why then
      causes[#causes + 1] = status.invalid_value(field .. ".name", port.name, why)
    elseif seen["name/" .. port.name] then
      causes[#causes + 1] = {
        reason = "FieldValueDuplicate", field = field .. ".name", message = ("Duplicate value: %q"):format(port.name),
      }
    end
    seen["name/" .. port.name] = true
  end
  check_number(causes, field .. ".port", port.port or 0)
  one_of(causes, field .. ".protocol", port.protocol, { "SCTP", "TCP", "UDP" })
  if math.type(port.targetPort) == "integer" then
    check_number(causes, field .. ".targetPort", port.targetPort)
  end
  local key = tostring(port.protocol) .. "/" .. tostring(port.port)
  if seen[key] then
    causes[#causes + 1] = {
      reason = "FieldValueDuplicate", field = field,
      message = "Duplicate value: " .. json.encode({ port = port.port, protocol = port.protocol }),
    }
  end
  seen[key] = true
end

local function check_traffic(causes, spec)
  one_of(causes, "spec.sessionAffinity", spec.sessionAffinity, { "ClientIP", "None" })
  local timeout = json.at(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
  if timeout and (timeout <= 0 or timeout > 86400) then
    causes[#causes + 1] = status.invalid_value("spec.sessionAffinityConfig.clientIP.timeoutSeconds", timeout,
      "must be greater than 0 and less than 86400")
  end
  if spec.externalTrafficPolicy then
    if not is_external[spec.type] and not (spec.externalIPs and #spec.externalIPs > 0) then
      causes[#causes + 1] = status.invalid_value("spec.externalTrafficPolicy", spec.externalTrafficPolicy,
        "ExternalTrafficPolicy can only be set on NodePort and LoadBalancer service")
    else
      one_of(causes, "spec.externalTrafficPolicy", spec.externalTrafficPolicy, { "Cluster", "Local" })
    end
  end
  if spec.internalTrafficPolicy then
    one_of(causes, "spec.internalTrafficPolicy", spec.internalTrafficPolicy, { "Cluster", "Local" })
  end
end

local function check_load_balancer(causes, spec)
  if spec.type ~= "LoadBalancer" then
    if spec.loadBalancerClass then
      causes[#causes + 1] = status.forbidden_field("spec.loadBalancerClass",
        "may only be used when `type` is 'LoadBalancer'")
    end
    if spec.allocateLoadBalancerNodePorts ~= nil then
      causes[#causes + 1] = status.forbidden_field("spec.allocateLoadBalancerNodePorts",
        "may only be used when `type` is 'LoadBalancer'")
    end
  elseif spec.loadBalancerClass then
    local why = validation.qualified_name(spec.loadBalancerClass)
    if why then
      causes[#causes + 1] = status.invalid_value("spec.loadBalancerClass", spec.loadBalancerClass, why)
    end
  end
  for _, range in ipairs(spec.loadBalancerSourceRanges or {}) do
    local item = address.item((range:gsub("%s+", "")))
    if not item or item.form ~= "cidr" then
      causes[#causes + 1] = status.invalid_value("spec.LoadBalancerSourceRanges", range,
        "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24 ")
    end
  end
  for i, ip in ipairs(spec.externalIPs or {}) do
    if not address.canonical(ip) then
      causes[#causes + 1] = status.invalid_value(("spec.externalIPs[%d]"):format(i - 1), ip,
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
    end
  end
end

--- The causes to refuse a spec that has its defaults.
function service.validate(spec)
  local causes, seen = {}, {}
  one_of(causes, "spec.type", spec.type, types)
  local ports = spec.ports or {}
  if #ports == 0 and spec.type ~= "ExternalName" and spec.clusterIP ~= "None" then
    causes[#causes + 1] = status.required("spec.ports")
  end
  for i, port in ipairs(ports) do
    check_port(causes, ("spec.ports[%d]"):format(i - 1), port, #ports > 1, seen)
  end
  if spec.type == "ExternalName" and (spec.externalName or "") == "" then
    causes[#causes + 1] = status.required("spec.externalName")
  end
  for name, value in pairs(spec.selector or {}) do
    local why = validation.qualified_name(name) or validation.label_value(value)
    if why then
      causes[#causes + 1] = status.invalid_value("spec.selector", name, why)
    end
  end
  check_traffic(causes, spec)
  check_load_balancer(causes, spec)
  return causes
end

--- The causes to refuse a status.
function service.validate_status(object)
  local causes = {}
  for i, ingress in ipairs(json.at(object, "status", "loadBalancer", "ingress") or {}) do
    local field = ("status.loadBalancer.ingress[%d]"):format(i - 1)
    if ingress.ip and ingress.ip ~= "" and not address.canonical(ingress.ip) then
      causes[#causes + 1] = status.invalid_value(field .. ".ip", ingress.ip, "must be a valid IP address")
    end
    if ingress.ipMode and (ingress.ip or "") == "" then
      causes[#causes + 1] = status.forbidden_field(field .. ".ipMode", "may not be specified when `ip` is not set")
    elseif ingress.ipMode then
      one_of(causes, field .. ".ipMode", ingress.ipMode, { "Proxy", "VIP" })
    end
    if ingress.hostname and ingress.hostname ~= "" and validation.subdomain(ingress.hostname) then
      causes[#causes + 1] = status.invalid_value(field .. ".hostname", ingress.hostname,
        validation.subdomain(ingress.hostname))
    end
  end
  return causes
end

--- Fill in `ipMode: VIP` for addresses of a LoadBalancer (1.30 and newer). Changes `object`.
function service.default_status(object)
  for _, ingress in ipairs(json.at(object, "status", "loadBalancer", "ingress") or {}) do
    if object.spec.type == "LoadBalancer" and (ingress.ip or "") ~= "" then
      ingress.ipMode = ingress.ipMode or "VIP"
    end
  end
end

-- ---- create and update ----

local function port_key(port)
  return port.protocol .. "/" .. port.port
end

-- Node ports of ports that were there before, when the client left them out.
local function keep_node_ports(spec, old)
  local before = {}
  for _, port in ipairs(old.ports or {}) do
    before[port_key(port)] = port.nodePort
  end
  for _, port in ipairs(spec.ports or {}) do
    if port.protocol and port.port then
      port.nodePort = port.nodePort or before[port_key(port)]
    end
  end
end

-- Fields that only the old type had vanish, unless the client set them to something new.
local function drop_of_type(spec, old)
  if is_external[old.type] and not is_external[spec.type] then
    local before = {}
    for _, port in ipairs(old.ports or {}) do
      before[port.nodePort or 0] = true
    end
    for _, port in ipairs(spec.ports or {}) do
      if before[port.nodePort or 0] then
        port.nodePort = nil
      end
    end
    if not (spec.externalIPs and #spec.externalIPs > 0) and spec.externalTrafficPolicy == old.externalTrafficPolicy then
      spec.externalTrafficPolicy = nil
    end
  end
  if old.type == "LoadBalancer" and spec.type ~= "LoadBalancer" then
    for _, name in ipairs({ "allocateLoadBalancerNodePorts", "loadBalancerClass" }) do
      if spec[name] == old[name] then
        spec[name] = nil
      end
    end
  end
  if spec.type ~= "LoadBalancer" or spec.externalTrafficPolicy ~= "Local" then
    spec.healthCheckNodePort = nil
  end
end

--- Carry over what the server had handed out and the new spec leaves out (1.21 and newer). Changes `spec`.
function service.carry_over(spec, old)
  spec.type = spec.type or "ClusterIP"
  default_ports(spec)
  if spec.type ~= "ExternalName" and old.type ~= "ExternalName" then
    if (spec.clusterIP or "") == "" and not (spec.clusterIPs and spec.clusterIPs[1]) then
      spec.clusterIP, spec.clusterIPs = old.clusterIP, json.copy(old.clusterIPs)
    end
    spec.ipFamilies = spec.ipFamilies or json.copy(old.ipFamilies)
    spec.ipFamilyPolicy = spec.ipFamilyPolicy or old.ipFamilyPolicy
  end
  if is_external[spec.type] and is_external[old.type] then
    keep_node_ports(spec, old)
    spec.healthCheckNodePort = spec.healthCheckNodePort or old.healthCheckNodePort
  end
  drop_of_type(spec, old)
end

--- The causes to refuse a change.
function service.validate_change(spec, old)
  local causes = {}
  local both = spec.type ~= "ExternalName" and old.type ~= "ExternalName"
  if both and spec.clusterIPs and old.clusterIPs and spec.clusterIPs[1] ~= old.clusterIPs[1] then
    causes[1] = status.invalid_value("spec.clusterIPs[0]", spec.clusterIPs, "may not change once set")
  elseif both and old.clusterIP and spec.clusterIP ~= old.clusterIP then
    causes[1] = status.invalid_value("spec.clusterIPs[0]", json.list({ spec.clusterIP }), "may not change once set")
  end
  if spec.type == "LoadBalancer" and old.type == "LoadBalancer" and spec.loadBalancerClass ~= old.loadBalancerClass then
    causes[#causes + 1] = status.invalid_value("spec.loadBalancerClass", spec.loadBalancerClass or json.null,
      "may not change once set")
  end
  return causes
end

return service
