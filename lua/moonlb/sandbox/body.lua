--- Request bodies: JSON, YAML or protobuf into an object of the right kind, strictly.
-- @module moonlb.sandbox.body
local lyaml = require("lyaml")
local json = require("moonlb.sandbox.json")
local protobuf = require("moonlb.sandbox.protobuf")
local schema = require("moonlb.sandbox.schema")
local status = require("moonlb.sandbox.status")

local body = {}

local accepted = "the body of the request was in an unknown format - accepted media types include: "
  .. "application/json, application/yaml, application/vnd.kubernetes.protobuf"

-- YAML's tables do not say whether an empty one was a list; the type does.
local function from_yaml(value, value_type)
  if value == lyaml.null then
    return json.null
  elseif type(value) ~= "table" then
    return value
  end
  local form = value_type and value_type.form
  if #value > 0 or (form == "list" and next(value) == nil) then
    local list = json.list()
    for i, element in ipairs(value) do
      list[i] = from_yaml(element, form == "list" and value_type.of or nil)
    end
    return list
  end
  local object = {}
  for name, element in pairs(value) do
    local field = form == "object" and value_type.fields[name]
    object[tostring(name)] = from_yaml(element, form == "map" and value_type.of or (field and field.type or nil))
  end
  return object
end

--- Read YAML, of which JSON is a part.
-- @tparam string text
-- @tparam table value_type  of `moonlb.sandbox.types`
-- @return value, or nil, message, `"EINVAL"`
function body.yaml(text, value_type)
  local value = json.decode(text)
  if value ~= nil then
    return value
  end
  local ok, loaded = pcall(lyaml.load, text)
  if not ok then
    return nil, tostring(loaded), "EINVAL"
  end
  return from_yaml(loaded, value_type)
end

local function media_type(content_type)
  return (content_type or ""):match("^%s*([^;%s]*)"):lower()
end

body.media_type = media_type

local function cannot_be_handled(found_kind, found_version, resource_kind, why)
  return status.bad_request(('%s in version "%s" cannot be handled as a %s: %s'):format(
    found_kind, found_version, resource_kind, why))
end

local function read_protobuf(text, value_type, resource)
  local version, kind = protobuf.kind_of(text)
  if not version then
    return nil, status.bad_request("the body is not protobuf: " .. kind)
  end
  if not protobuf.knows(value_type.name) then
    return nil, status.unsupported_media_type(("%s is not read from protobuf here: send JSON, for example with "
      .. "`kubectl create ... --dry-run=client -o yaml | kubectl create -f -`"):format(resource.kind))
  elseif kind ~= "" and kind ~= resource.kind then
    return nil, cannot_be_handled(kind, version, resource.kind, "converting to another kind is not possible")
  end
  local object, message = protobuf.decode(text, value_type.name)
  if not object then
    return nil, status.failure(415, "UnsupportedMediaType", message .. ": send JSON (`kubectl create -f -`)", {})
  end
  return object
end

-- Bytes to a table, by the media type.
local function parse(text, content_type, value_type, resource)
  local media = media_type(content_type)
  if media == "application/vnd.kubernetes.protobuf" then
    return read_protobuf(text, value_type, resource)
  end
  local value, message
  if media == "" or media == "application/json" then
    value, message = json.decode(text)
  elseif media == "application/yaml" then
    value, message = body.yaml(text, value_type)
  else
    return nil, status.unsupported_media_type(accepted)
  end
  if value == nil or not json.is_object(value) then
    return nil, status.bad_request("the object provided is unrecognized (must be of type " .. resource.kind .. "): "
      .. (message or "not a JSON object"))
  end
  return value
end

local function check_kind(object, resource)
  local kind, version = object.kind, object.apiVersion
  if (kind or resource.kind) ~= resource.kind or (version or resource.api_version) ~= resource.api_version then
    return nil, cannot_be_handled(tostring(kind or ""), tostring(version or ""), resource.kind, ("the API version "
      .. "in the data (%s, Kind=%s) does not match the expected API version (%s, Kind=%s)"):format(
      tostring(version), tostring(kind), resource.api_version, resource.kind))
  end
  return true
end

-- What fieldValidation says about unknown fields: refuse, warn, or nothing.
local function judge_unknown(unknown, mode, warnings)
  if #unknown == 0 or mode == "Ignore" then
    return nil
  end
  local texts = {}
  for i, path in ipairs(unknown) do
    texts[i] = ('unknown field "%s"'):format(path)
  end
  if mode == "Strict" then
    return "strict decoding error: " .. table.concat(texts, ", ")
  end
  table.move(texts, 1, #texts, #warnings + 1, warnings)
  return nil
end

--- Make a decoded value an object of a resource as it is stored.
-- @tparam table value  decoded, with kind and apiVersion or without
-- @tparam table resource
-- @tparam table options  `mode`: fieldValidation, `warnings`: sequence to add to, `value_type`: instead of the
--   resource's
-- @treturn table  or nil, Status, text of a strict decoding error (for those who word it otherwise)
function body.typed(value, resource, options)
  local right, refused = check_kind(value, resource)
  if not right then
    return nil, refused
  end
  local object, unknown = schema.read(options.value_type or resource.type, value)
  if not object then
    return nil, cannot_be_handled(resource.kind, resource.version, resource.kind, unknown)
  end
  local strict = judge_unknown(unknown, options.mode or "Warn", options.warnings)
  if strict then
    return nil, cannot_be_handled(resource.kind, resource.version, resource.kind, strict), strict
  end
  object.metadata = object.metadata or {}
  return resource.decode and resource.decode(object) or object
end

--- Read the body of a create or update.
-- @tparam table ctx  request context: `body, content_type, query, warnings`
-- @tparam table resource
-- @tparam[opt] table value_type  instead of the resource's
-- @treturn table  the object as stored, or nil, Status
function body.read(ctx, resource, value_type)
  local value, refused = parse(ctx.body or "", ctx.content_type, value_type or resource.type, resource)
  if not value then
    return nil, refused
  end
  return body.typed(value, resource, {
    mode = ctx.query.fieldValidation, warnings = ctx.warnings, value_type = value_type,
  })
end

return body
