--- What a request asks for: its path, its query, the form of the answer.
-- Paths: kubernetes.io/docs/reference/using-api/api-concepts ("Resource URIs").
-- @module moonlb.sandbox.request
local httpd = require("moonlb.core.httpd")
local resources = require("moonlb.sandbox.resources")
local status = require("moonlb.sandbox.status")

local request = {}

local function split(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    parts[#parts + 1] = httpd.percent_decode(part)
  end
  return parts
end

-- "namespaces/NS/services/NAME/status" -> namespace, plural, name, subresource. Below a Namespace itself there are only
-- its subresources.
local function address_of(parts, at)
  local below = parts[at + 2]
  if parts[at] == "namespaces" and below and below ~= "status" and below ~= "finalize" then
    return parts[at + 1], below, parts[at + 3], parts[at + 4], parts[at + 5]
  end
  return nil, parts[at], parts[at + 1], below, parts[at + 3]
end

--- Read the path of a resource.
-- @tparam string path  raw, without query
-- @treturn table  `{resource=, namespace=|nil, name=|nil, subresource=|nil, is_watch=}`; nil for a path that is no
--   resource's; nil and a Status for one below a known group version that is not served
function request.target(path)
  local parts = split(path)
  local version, at
  if parts[1] == "api" and parts[2] then
    version, at = parts[2], 3
  elseif parts[1] == "apis" and parts[3] then
    version, at = parts[2] .. "/" .. parts[3], 4
  end
  if not version or not resources.has_version(version) or not parts[at] then
    return nil
  end
  local is_watch = parts[at] == "watch"
  local namespace, plural, name, subresource, more = address_of(parts, is_watch and at + 1 or at)
  local resource = resources.find(version, plural or "")
  if not resource or more or (namespace and not resource.namespaced and not resource.review) then
    return nil, status.no_such_path()
  end
  local has = { status = resource.status, token = resource.token }
  if subresource and not has[subresource] then
    return nil, status.no_such_path()
  end
  return { resource = resource, namespace = namespace, name = name, subresource = subresource, is_watch = is_watch }
end

local function accepts_json(media)
  return media == "application/json" or media == "*/*" or media == "application/*"
end

--- The form of the answer: the first one of Accept that is served.
-- @tparam string|nil accept
-- @treturn table  `{form="json"|"table"|"partial"|"yaml", meta_version="v1"}`, or nil when none is served
function request.form(accept)
  if not accept or accept == "" then
    return { form = "json" }
  end
  for range in accept:gmatch("[^,]+") do
    local media = range:match("^%s*([^;%s]+)")
    local as, version, group = range:match("as=(%a+)"), range:match(";%s*v=(%w+)"), range:match("g=([%w.]+)")
    if accepts_json(media) then
      if not as then
        return { form = "json" }
      elseif group == "meta.k8s.io" and (version == "v1" or version == "v1beta1") then
        local form = as == "Table" and "table" or as:match("^PartialObjectMetadata") and "partial"
        if form then
          return { form = form, meta_version = version }
        end
      end
    elseif media == "application/yaml" and not as then
      return { form = "yaml" }
    end
  end
  return nil
end

--- The query as a table. A name given twice keeps its last value.
function request.query(raw)
  return raw and raw ~= "" and httpd.parse_query(raw) or {}
end

local truths = { ["1"] = true, t = true, T = true, TRUE = true, ["true"] = true, True = true }

--- A boolean of the query.
function request.is_true(value)
  return truths[value or ""] == true
end

return request
