--- What is served: one description for each kind, and what is special about it.
-- @module moonlb.sandbox.resources
local json = require("moonlb.sandbox.json")
local service = require("moonlb.sandbox.service")
local status = require("moonlb.sandbox.status")
local types = require("moonlb.sandbox.types")
local validation = require("moonlb.sandbox.validation")
local versions = require("moonlb.sandbox.versions")

local resources = {}

local all_verbs = { "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch" }

-- ---- defaults and validation of the small kinds ----

local function check_data(causes, field, map)
  for key in pairs(map or {}) do
    local why = validation.config_key(key)
    if why then
      causes[#causes + 1] = status.invalid_value(("%s[%s]"):format(field, key), key, why)
    end
  end
end

local function validate_config(object, old)
  local causes = {}
  check_data(causes, "data", object.data)
  check_data(causes, "binaryData", object.binaryData)
  if old and old.immutable then
    for _, name in ipairs({ "immutable", "data", "binaryData" }) do
      if not json.equal(object[name], old[name]) then
        causes[#causes + 1] = status.forbidden_field(name, "field is immutable when `immutable` is set")
      end
    end
  end
  return causes
end

local function default_secret(object)
  object.type = object.type or "Opaque"
  for key, value in pairs(object.stringData or {}) do
    object.data = object.data or {}
    object.data[key] = json.base64(value)
  end
  object.stringData = nil
end

local function validate_secret(object, old)
  local causes = validate_config(object, old)
  if old and object.type ~= old.type then
    causes[#causes + 1] = status.invalid_value("type", object.type, "field is immutable")
  end
  return causes
end

local function validate_lease(object)
  local causes, spec = {}, object.spec or {}
  if spec.leaseDurationSeconds and spec.leaseDurationSeconds <= 0 then
    causes[#causes + 1] = status.invalid_value("spec.leaseDurationSeconds", spec.leaseDurationSeconds,
      "must be greater than 0")
  end
  if spec.leaseTransitions and spec.leaseTransitions < 0 then
    causes[#causes + 1] = status.invalid_value("spec.leaseTransitions", spec.leaseTransitions,
      "must be greater than or equal to 0")
  end
  return causes
end

local function validate_event(object)
  local about = json.at(object, "involvedObject", "namespace") or ""
  local namespace = object.metadata.namespace
  if about ~= namespace and not (about == "" and namespace == "default") then
    return { status.invalid_value("involvedObject.namespace", about, "does not match event.namespace") }
  end
  return {}
end

local function validate_new_event(object, old)
  local causes = validate_event(object)
  if not old and not object.eventTime then
    causes[#causes + 1] = status.required("eventTime")
  end
  return causes
end

local function default_slice(object)
  for _, port in ipairs(object.ports or {}) do
    port.protocol = port.protocol or "TCP"
    port.name = port.name or ""
  end
end

local address_types = { FQDN = true, IPv4 = true, IPv6 = true }

local function validate_slice(object, old)
  local causes = {}
  if (object.addressType or "") == "" then
    causes[1] = status.required("addressType")
  elseif not address_types[object.addressType] then
    causes[1] = status.unsupported("addressType", object.addressType, { "FQDN", "IPv4", "IPv6" })
  elseif old and old.addressType ~= object.addressType then
    causes[1] = status.invalid_value("addressType", object.addressType, "field is immutable")
  end
  for i, endpoint in ipairs(object.endpoints or {}) do
    if #(endpoint.addresses or {}) == 0 then
      local field = ("endpoints[%d].addresses"):format(i - 1)
      causes[#causes + 1] = status.required(field, "must contain at least 1 address")
    end
  end
  return causes
end

local function default_namespace(object)
  object.metadata.labels = object.metadata.labels or {}
  object.metadata.labels["kubernetes.io/metadata.name"] = object.metadata.name
  object.spec = object.spec or {}
  object.spec.finalizers = object.spec.finalizers or json.list({ "kubernetes" })
  object.status = object.status or {}
  object.status.phase = object.status.phase or "Active"
end

local function default_deployment(object)
  object.spec = object.spec or {}
  local spec = object.spec
  spec.replicas = spec.replicas or 1
  spec.strategy = spec.strategy or {}
  spec.strategy.type = spec.strategy.type or "RollingUpdate"
  object.status = object.status or {}
end

local function validate_deployment(object)
  local causes = {}
  if not json.at(object, "spec", "selector") then
    causes[1] = status.required("spec.selector")
  end
  local containers = json.at(object, "spec", "template", "spec", "containers") or {}
  if #containers == 0 then
    causes[#causes + 1] = status.required("spec.template.spec.containers")
  end
  return causes
end

-- ---- Services ----

local function default_service(object)
  object.spec = object.spec or {}
  service.default(object.spec)
  object.status = object.status or {}
  object.status.loadBalancer = object.status.loadBalancer or {}
  service.default_status(object)
end

local function validate_service(object, old)
  local causes = service.validate(object.spec)
  for _, cause in ipairs(old and service.validate_change(object.spec, old.spec) or {}) do
    causes[#causes + 1] = cause
  end
  return causes
end

-- ---- the list ----

local event_fields = {
  strict = true, reason = "reason", type = "type", source = "source.component",
  ["involvedObject.kind"] = "involvedObject.kind", ["involvedObject.namespace"] = "involvedObject.namespace",
  ["involvedObject.name"] = "involvedObject.name", ["involvedObject.uid"] = "involvedObject.uid",
  ["involvedObject.apiVersion"] = "involvedObject.apiVersion",
  ["involvedObject.resourceVersion"] = "involvedObject.resourceVersion",
  ["involvedObject.fieldPath"] = "involvedObject.fieldPath", reportingComponent = "reportingComponent",
  ["regarding.kind"] = "involvedObject.kind", ["regarding.namespace"] = "involvedObject.namespace",
  ["regarding.name"] = "involvedObject.name", ["regarding.uid"] = "involvedObject.uid",
  ["regarding.apiVersion"] = "involvedObject.apiVersion", reportingController = "reportingComponent",
}

-- A description: group, version, plural, singular, kind, short, categories, namespaced, type (its name in `types`),
-- storage (the shelf, shared by versions), status (has the subresource), takes_status (on create too), generation
-- (is counted), name_rule, fields (selectors). Functions: default(object), validate(object, old) -> causes,
-- validate_status(object) -> causes, carry_over(object, old), decode and encode (of a version that is not stored).
local list = {
  {
    group = "", version = "v1", plural = "namespaces", kind = "Namespace", short = { "ns" }, namespaced = false,
    status = true, default = default_namespace, name_rule = validation.dns1123_label,
    fields = { ["status.phase"] = "status.phase", strict = true },
  },
  {
    group = "", version = "v1", plural = "services", kind = "Service", short = { "svc" }, namespaced = true,
    categories = { "all" }, status = true, default = default_service, validate = validate_service,
    validate_status = service.validate_status, name_rule = validation.dns1035_label,
    carry_over = function(object, old)
      object.spec = object.spec or {}
      service.carry_over(object.spec, old.spec)
    end,
  },
  {
    group = "", version = "v1", plural = "configmaps", kind = "ConfigMap", short = { "cm" }, namespaced = true,
    validate = validate_config,
  },
  {
    group = "", version = "v1", plural = "secrets", kind = "Secret", namespaced = true,
    default = default_secret, validate = validate_secret, fields = { type = "type", strict = true },
  },
  {
    group = "", version = "v1", plural = "serviceaccounts", kind = "ServiceAccount", short = { "sa" },
    namespaced = true, token = true,
  },
  {
    group = "", version = "v1", plural = "nodes", kind = "Node", short = { "no" }, namespaced = false, status = true,
    takes_status = true, fields = { ["spec.unschedulable"] = "spec.unschedulable", strict = true },
    default = function(object)
      object.spec, object.status = object.spec or {}, object.status or {}
    end,
  },
  {
    group = "", version = "v1", plural = "endpoints", singular = "endpoints", kind = "Endpoints", short = { "ep" },
    namespaced = true,
  },
  {
    group = "", version = "v1", plural = "events", kind = "Event", short = { "ev" }, namespaced = true,
    validate = validate_event, fields = event_fields,
  },
  {
    group = "", version = "v1", plural = "pods", kind = "Pod", short = { "po" }, namespaced = true,
    verbs = { "get", "list", "watch" },
    fields = {
      ["spec.nodeName"] = "spec.nodeName", ["status.phase"] = "status.phase", ["status.podIP"] = "status.podIP",
      strict = true,
    },
  },
  {
    group = "apps", version = "v1", plural = "deployments", kind = "Deployment", short = { "deploy" },
    namespaced = true, categories = { "all" }, status = true, generation = true, default = default_deployment,
    validate = validate_deployment,
  },
  {
    group = "coordination.k8s.io", version = "v1", plural = "leases", kind = "Lease", namespaced = true,
    validate = validate_lease,
    default = function(object)
      object.spec = object.spec or {}
    end,
  },
  {
    group = "discovery.k8s.io", version = "v1", plural = "endpointslices", kind = "EndpointSlice", namespaced = true,
    generation = true, default = default_slice, validate = validate_slice,
  },
  {
    group = "discovery.k8s.io", version = "v1beta1", plural = "endpointslices", kind = "EndpointSlice",
    namespaced = true, generation = true, default = default_slice, validate = validate_slice,
    type = "BetaEndpointSlice", decode = versions.slice_in, encode = versions.slice_out,
  },
  {
    group = "events.k8s.io", version = "v1", plural = "events", kind = "Event", short = { "ev" }, namespaced = true,
    validate = validate_new_event, fields = event_fields, type = "NewEvent",
    decode = versions.event_in, encode = versions.event_out,
  },
}

-- Kinds that are only asked, never stored: POST gives the object back with its status.
local reviews = {
  {
    group = "authorization.k8s.io", version = "v1", plural = "selfsubjectaccessreviews",
    kind = "SelfSubjectAccessReview", review = "access",
  },
  {
    group = "authorization.k8s.io", version = "v1", plural = "selfsubjectrulesreviews",
    kind = "SelfSubjectRulesReview", review = "rules",
  },
  {
    group = "authentication.k8s.io", version = "v1", plural = "selfsubjectreviews", kind = "SelfSubjectReview",
    review = "whoami",
  },
}

local function complete(resource)
  resource.singular = resource.singular or resource.kind:lower()
  resource.api_version = resource.group == "" and resource.version or resource.group .. "/" .. resource.version
  resource.type = types.get(resource.type or resource.kind)
  resource.storage = resource.plural
  resource.short, resource.categories = resource.short or {}, resource.categories or {}
  resource.fields = resource.fields or {}
  resource.name_rule = resource.name_rule or validation.subdomain
  resource.verbs = resource.verbs or (resource.review and { "create" }) or all_verbs
  resource.head = ('{"kind":%s,"apiVersion":%s,'):format(json.encode(resource.kind), json.encode(resource.api_version))
  return resource
end

local by_path = {}

for _, kinds in ipairs({ list, reviews }) do
  for _, resource in ipairs(kinds) do
    complete(resource)
    by_path[resource.api_version] = by_path[resource.api_version] or {}
    by_path[resource.api_version][resource.plural] = resource
  end
end

--- All resources in the order of discovery: stored kinds, then reviews.
-- @treturn table  sequence of descriptions
function resources.all()
  local both = table.move(list, 1, #list, 1, {})
  return table.move(reviews, 1, #reviews, #both + 1, both)
end

--- The resource of a request.
-- @tparam string api_version  `"v1"`, `"discovery.k8s.io/v1"`
-- @tparam string plural
-- @treturn table|nil
function resources.find(api_version, plural)
  return (by_path[api_version] or {})[plural]
end

--- Is this group version served?
function resources.has_version(api_version)
  return by_path[api_version] ~= nil
end

return resources
