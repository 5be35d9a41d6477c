--- Status objects: how the API says no. Messages and details are those of kube-apiserver, since kubectl prints them.
-- Functions of this room that can be refused return `nil, status`.
-- @module moonlb.sandbox.status
local json = require("moonlb.sandbox.json")

local status = {}

--- A failure.
-- @tparam integer code  HTTP status
-- @tparam string|nil reason  `"NotFound"`, `"Conflict"`, ...
-- @tparam string message
-- @tparam[opt] table details
-- @treturn table  a Status (meta/v1)
function status.failure(code, reason, message, details)
  return {
    kind = "Status", apiVersion = "v1", metadata = {}, status = "Failure",
    message = message, reason = reason, details = details, code = code,
  }
end

-- `details` of one object: the plural resource, and the group outside core.
local function about(resource, name)
  return { name = name, kind = resource.plural, group = resource.group ~= "" and resource.group or nil }
end

local function qualified(resource)
  return resource.group ~= "" and resource.plural .. "." .. resource.group or resource.plural
end

function status.bad_request(message)
  return status.failure(400, "BadRequest", message)
end

function status.not_found(resource, name)
  return status.failure(404, "NotFound", ('%s "%s" not found'):format(qualified(resource), name), about(resource, name))
end

--- No such resource or path below a known group.
function status.no_such_path()
  return status.failure(404, "NotFound", "the server could not find the requested resource", {})
end

function status.method_not_allowed()
  return status.failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})
end

function status.already_exists(resource, name)
  return status.failure(409, "AlreadyExists", ('%s "%s" already exists'):format(qualified(resource), name),
    about(resource, name))
end

--- @tparam[opt] string why  instead of the usual text about a stale resourceVersion
function status.conflict(resource, name, why)
  return status.failure(409, "Conflict", ('Operation cannot be fulfilled on %s "%s": %s'):format(qualified(resource),
    name, why or "the object has been modified; please apply your changes to the latest version and try again"),
    about(resource, name))
end

function status.forbidden(resource, name, why)
  return status.failure(403, "Forbidden", ('%s "%s" is forbidden: %s'):format(qualified(resource), name, why),
    about(resource, name))
end

function status.expired(message)
  return status.failure(410, "Expired", message)
end

function status.unsupported_media_type(message)
  return status.failure(415, "UnsupportedMediaType", message, {})
end

--- 422 with one cause for each wrong field.
-- @tparam table resource
-- @tparam string name
-- @tparam table causes  of `status.cause`
function status.invalid(resource, name, causes)
  local kind = resource.group ~= "" and resource.kind .. "." .. resource.group or resource.kind
  local texts = {}
  for i, cause in ipairs(causes) do
    texts[i] = cause.field .. ": " .. cause.message
  end
  local all = table.concat(texts, ", ")
  local details = about(resource, name)
  details.kind, details.causes = resource.kind, json.list(causes)
  return status.failure(422, "Invalid", ('%s "%s" is invalid: %s'):format(kind, name,
    #texts == 1 and all or "[" .. all .. "]"), details)
end

local function go_value(value)
  if json.is_list(value) then
    local parts = {}
    for i, element in ipairs(value) do
      parts[i] = go_value(element)
    end
    return "[]string{" .. table.concat(parts, ", ") .. "}"
  elseif type(value) == "string" then
    return json.encode(value)
  elseif type(value) == "table" then
    return json.encode(value)
  end
  return tostring(value)
end

--- A field that is missing.
function status.required(field, why)
  return { reason = "FieldValueRequired", field = field, message = "Required value" .. (why and ": " .. why or "") }
end

--- A field with a wrong value.
function status.invalid_value(field, value, why)
  local message = ("Invalid value: %s: %s"):format(go_value(value), why)
  return { reason = "FieldValueInvalid", field = field, message = message }
end

--- A field that may hold only some words.
function status.unsupported(field, value, supported)
  local words = {}
  for i, word in ipairs(supported) do
    words[i] = json.encode(word)
  end
  return {
    reason = "FieldValueNotSupported", field = field,
    message = ("Unsupported value: %s: supported values: %s"):format(go_value(value), table.concat(words, ", ")),
  }
end

--- A field that may not be set (or changed) here.
function status.forbidden_field(field, why)
  return { reason = "FieldValueForbidden", field = field, message = "Forbidden: " .. why }
end

return status
