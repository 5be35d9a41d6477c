--- Names, labels and other rules that hold for every kind. Texts are those of apimachinery's validation.
-- @module moonlb.sandbox.validation
local status = require("moonlb.sandbox.status")

local validation = {}

local subdomain_text =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
  .. "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
  .. "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
local dns1123_text = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
  .. "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
  .. "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
local dns1035_text = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
  .. "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex "
  .. "used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
local name_part_text =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
  .. "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
  .. "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
local label_value_text =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
  .. "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
  .. "regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

local function is_dns_label(text)
  return text:match("^[a-z0-9][-a-z0-9]*$") ~= nil and text:sub(-1) ~= "-"
end

--- RFC 1123 subdomain: nil when right, else why not.
function validation.subdomain(text)
  if #text > 253 then
    return "must be no more than 253 characters"
  end
  for label in (text .. "."):gmatch("([^.]*)%.") do
    if not is_dns_label(label) then
      return subdomain_text
    end
  end
end

--- RFC 1123 label: nil when right, else why not.
function validation.dns1123_label(text)
  if #text > 63 then
    return "must be no more than 63 characters"
  end
  return not is_dns_label(text) and dns1123_text or nil
end

--- RFC 1035 label: nil when right, else why not.
function validation.dns1035_label(text)
  if #text > 63 then
    return "must be no more than 63 characters"
  end
  return not (is_dns_label(text) and text:match("^%a")) and dns1035_text or nil
end

--- `[prefix/]name` of labels, annotations and finalizers: nil when right, else why not.
function validation.qualified_name(text)
  local prefix, name = text:match("^([^/]*)/(.*)$")
  name = name or text
  if prefix == "" then
    return "prefix part must be non-empty"
  elseif prefix and validation.subdomain(prefix) then
    return "prefix part " .. validation.subdomain(prefix)
  elseif name == "" then
    return "name part must be non-empty"
  elseif #name > 63 then
    return "name part must be no more than 63 characters"
  elseif not (name:match("^[%w][%w._-]*$") and name:match("%w$")) then
    return name_part_text
  end
end

--- The value of a label: nil when right, else why not.
function validation.label_value(text)
  if #text > 63 then
    return "must be no more than 63 characters"
  elseif text ~= "" and not (text:match("^%w[%w._-]*$") and text:match("%w$")) then
    return label_value_text
  end
end

local function add(causes, field, value, why)
  if why then
    causes[#causes + 1] = status.invalid_value(field, value, why)
  end
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map or {}) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local function check_annotations(causes, annotations)
  local size = 0
  for _, key in ipairs(sorted_keys(annotations)) do
    size = size + #key + #annotations[key]
    add(causes, "metadata.annotations", key, validation.qualified_name(key:lower()))
  end
  if size > 256 * 1024 then
    local message = "Too long: must have at most 262144 bytes"
    causes[#causes + 1] = { reason = "FieldValueTooLong", field = "metadata.annotations", message = message }
  end
end

--- Metadata of any object.
-- @tparam table resource  `name_rule`: one of this module's functions
-- @tparam table metadata
-- @treturn table  causes (see `moonlb.sandbox.status`), empty when all is right
function validation.metadata(resource, metadata)
  local causes = {}
  add(causes, "metadata.name", metadata.name, resource.name_rule(metadata.name))
  for _, key in ipairs(sorted_keys(metadata.labels)) do
    add(causes, "metadata.labels", key, validation.qualified_name(key))
    add(causes, "metadata.labels", metadata.labels[key], validation.label_value(metadata.labels[key]))
  end
  check_annotations(causes, metadata.annotations)
  for _, name in ipairs(metadata.finalizers or {}) do
    local why = validation.qualified_name(name)
    if not why and not name:find("/", 1, true) and name ~= "orphan" and name ~= "foregroundDeletion"
      and name ~= "kubernetes" then
      why = "name is neither a standard finalizer name nor is it fully qualified"
    end
    add(causes, "metadata.finalizers", name, why)
  end
  return causes
end

--- The key of a ConfigMap's or Secret's data: nil when right, else why not.
function validation.config_key(text)
  if #text > 253 then
    return "must be no more than 253 characters"
  elseif not text:match("^[-._%w]+$") or text == "." or text == ".." then
    return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
      .. "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
  end
end

return validation
