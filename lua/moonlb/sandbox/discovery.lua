--- Discovery: which groups, versions and resources are served. In the aggregated form (apidiscovery.k8s.io/v2) for
-- those who ask for it, else as one document each for the groups and for every group version.
-- @module moonlb.sandbox.discovery
local json = require("moonlb.sandbox.json")
local resources = require("moonlb.sandbox.resources")

local discovery = {}

discovery.aggregated_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

-- Groups in order: { name=, versions = { { version=, api_version=, resources = {...} } } }
local function groups()
  local list, by_name, by_version = {}, {}, {}
  for _, resource in ipairs(resources.all()) do
    local group = by_name[resource.group]
    if not group then
      group = { name = resource.group, versions = {} }
      by_name[resource.group], list[#list + 1] = group, group
    end
    local version = by_version[resource.api_version]
    if not version then
      version = { version = resource.version, api_version = resource.api_version, resources = {} }
      by_version[resource.api_version], group.versions[#group.versions + 1] = version, version
    end
    table.insert(version.resources, resource)
  end
  return list
end

local function subresources(resource)
  local list = {}
  if resource.status then
    list[1] = { name = "status", verbs = { "get", "patch", "update" }, kind = resource.kind }
  elseif resource.token then
    list[1] = {
      name = "token", verbs = { "create" }, kind = "TokenRequest", group = "authentication.k8s.io", version = "v1",
    }
  end
  return list
end

local function words(list)
  return json.list(table.move(list, 1, #list, 1, {}))
end

-- ---- aggregated ----

local function aggregated_resource(resource)
  local below = json.list()
  for i, sub in ipairs(subresources(resource)) do
    below[i] = {
      subresource = sub.name, verbs = words(sub.verbs),
      responseKind = {
        group = sub.group or resource.group, version = sub.version or resource.version, kind = sub.kind,
      },
    }
  end
  return {
    resource = resource.plural, singularResource = resource.singular, verbs = words(resource.verbs),
    responseKind = { group = resource.group, version = resource.version, kind = resource.kind },
    scope = resource.namespaced and "Namespaced" or "Cluster", shortNames = words(resource.short),
    categories = words(resource.categories), subresources = #below > 0 and below or nil,
  }
end

--- The aggregated document.
-- @tparam boolean is_core  for `/api`; else for `/apis`
function discovery.aggregated(is_core)
  local items = json.list()
  for _, group in ipairs(groups()) do
    if (group.name == "") == is_core then
      local versions = json.list()
      for i, version in ipairs(group.versions) do
        local list = json.list()
        for j, resource in ipairs(version.resources) do
          list[j] = aggregated_resource(resource)
        end
        versions[i] = { version = version.version, freshness = "Current", resources = list }
      end
      items[#items + 1] = { metadata = { name = not is_core and group.name or nil }, versions = versions }
    end
  end
  return { kind = "APIGroupDiscoveryList", apiVersion = "apidiscovery.k8s.io/v2", metadata = {}, items = items }
end

-- ---- one document each ----

--- `/api`
function discovery.api_versions()
  return {
    kind = "APIVersions", versions = json.list({ "v1" }),
    serverAddressByClientCIDRs = json.list({ { clientCIDR = "0.0.0.0/0", serverAddress = "127.0.0.1" } }),
  }
end

local function group_document(group)
  local versions = json.list()
  for i, version in ipairs(group.versions) do
    versions[i] = { groupVersion = version.api_version, version = version.version }
  end
  return { name = group.name, versions = versions, preferredVersion = versions[1] }
end

--- `/apis`
function discovery.group_list()
  local list = json.list()
  for _, group in ipairs(groups()) do
    if group.name ~= "" then
      list[#list + 1] = group_document(group)
    end
  end
  return { kind = "APIGroupList", apiVersion = "v1", groups = list }
end

--- `/apis/GROUP`; nil when there is no such group.
function discovery.group(name)
  for _, group in ipairs(groups()) do
    if group.name == name and name ~= "" then
      local document = group_document(group)
      document.kind, document.apiVersion = "APIGroup", "v1"
      return document
    end
  end
end

local function listed_resource(resource, list)
  list[#list + 1] = {
    name = resource.plural, singularName = resource.singular, namespaced = resource.namespaced or false,
    kind = resource.kind, verbs = words(resource.verbs),
    shortNames = #resource.short > 0 and words(resource.short) or nil,
    categories = #resource.categories > 0 and words(resource.categories) or nil,
  }
  for _, sub in ipairs(subresources(resource)) do
    list[#list + 1] = {
      name = resource.plural .. "/" .. sub.name, singularName = "", namespaced = resource.namespaced or false,
      kind = sub.kind, verbs = words(sub.verbs), group = sub.group, version = sub.version,
    }
  end
end

--- `/api/v1` or `/apis/GROUP/VERSION`; nil when it is not served.
function discovery.resource_list(api_version)
  for _, group in ipairs(groups()) do
    for _, version in ipairs(group.versions) do
      if version.api_version == api_version then
        local list = json.list()
        for _, resource in ipairs(version.resources) do
          listed_resource(resource, list)
        end
        return { kind = "APIResourceList", apiVersion = "v1", groupVersion = api_version, resources = list }
      end
    end
  end
end

return discovery
