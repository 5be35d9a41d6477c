--- The protobuf bodies that kubectl 1.32 and newer send: a decoder driven by the field numbers of `types`.
-- Wire format: protobuf.dev/programming-guides/encoding; envelope: k8s.io/apimachinery runtime.Unknown after "k8s\0".
-- @module moonlb.sandbox.protobuf
local json = require("moonlb.sandbox.json")
local types = require("moonlb.sandbox.types")

local protobuf = {}

local max_depth = 32

local function fail(what)
  error({ protobuf = what }, 0)
end

local function varint(text, at)
  local value = 0
  for shift = 0, 63, 7 do
    local b = text:byte(at)
    if not b then
      fail("body ends inside a number")
    end
    at = at + 1
    value = value | (b & 127) << shift
    if b < 128 then
      return value, at
    end
  end
  fail("number longer than ten bytes")
end

local function bytes(text, at)
  local length
  length, at = varint(text, at)
  if length < 0 or length > #text - at + 1 then
    fail("body ends inside a field")
  end
  return text:sub(at, at + length - 1), at + length
end

-- One field: its number, its value (integer or bytes), the next position.
local function field(text, at)
  local key
  key, at = varint(text, at)
  local number, wire, value = key >> 3, key & 7, nil
  if number == 0 then
    fail("field number 0")
  elseif wire == 0 then
    value, at = varint(text, at)
  elseif wire == 2 then
    value, at = bytes(text, at)
  elseif wire == 1 or wire == 5 then
    local size = wire == 1 and 8 or 4
    value = text:sub(at, at + size - 1)
    if #value < size then
      fail("body ends inside a field")
    end
    at = at + size
  else
    fail("wire type " .. wire)
  end
  return number, value, at
end

-- A message of few scalar fields: number -> value.
local function small(text)
  local fields, at = {}, 1
  while at <= #text do
    local number, value
    number, value, at = field(text, at)
    fields[number] = value
  end
  return fields
end

local function signed32(value)
  return (value & 0xFFFFFFFF ~ 0x80000000) - 0x80000000
end

local function time_text(value, digits)
  local fields = small(value)
  if (fields[1] or 0) == 0 and (fields[2] or 0) == 0 then
    return nil
  end
  local seconds = fields[1] or 0
  if type(seconds) ~= "number" or seconds < -62135596800 or seconds > 253402300799 then
    fail("a time out of range")
  end
  local text = os.date("!%Y-%m-%dT%H:%M:%S", seconds)
  return digits and ("%s.%06dZ"):format(text, (fields[2] or 0) // 1000) or text .. "Z"
end

local function as(kind, value, name)
  if type(value) ~= kind then
    fail("wrong wire type of " .. name)
  end
  return value
end

-- Field type -> reader of one value. An empty string is written out by Go for an absent one.
local readers = {
  string = function(value, name)
    return as("string", value, name)
  end,
  bytes = function(value, name)
    return json.base64(as("string", value, name))
  end,
  int = function(value, name)
    return as("number", value, name)
  end,
  bool = function(value, name)
    return as("number", value, name) ~= 0
  end,
  time = function(value, name)
    return time_text(as("string", value, name))
  end,
  micro = function(value, name)
    return time_text(as("string", value, name), true)
  end,
  intstr = function(value, name)
    local fields = small(as("string", value, name))
    if (fields[1] or 0) == 0 then
      return signed32(as("number", fields[2] or 0, name))
    end
    return as("string", fields[3] or "", name)
  end,
}

local read_message

local function read_value(value_type, value, name, depth)
  if value_type.form == "object" then
    return read_message(value_type, as("string", value, name), depth + 1)
  end
  local reader = readers[value_type.form]
  if not reader then
    fail(name .. " is not read from protobuf here")
  end
  return reader(value, name)
end

local function read_field(object, description, value, depth)
  local name, field_type = description.name, description.type
  if field_type.form == "list" then
    object[name] = object[name] or json.list()
    table.insert(object[name], read_value(field_type.of, value, name, depth))
  elseif field_type.form == "map" then
    local entry = small(as("string", value, name))
    object[name] = object[name] or {}
    object[name][as("string", entry[1] or "", name)] = read_value(field_type.of, entry[2] or "", name, depth)
  else
    local read = read_value(field_type, value, name, depth)
    if read ~= "" and not (field_type.form == "int" and read == 0) then
      object[name] = read
    end
  end
end

function read_message(message_type, text, depth)
  if depth > max_depth then
    fail("nested too deeply")
  end
  local object, at = {}, 1
  while at <= #text do
    local number, value
    number, value, at = field(text, at)
    local description = message_type.by_number[number]
    if description then
      read_field(object, description, value, depth)
    elseif value ~= "" and value ~= 0 then
      fail(("field %d of %s is not known here"):format(number, message_type.name))
    end
  end
  return object
end

local magic = "k8s\0"

local function envelope(body)
  if body:sub(1, #magic) ~= magic then
    fail("the body does not start with the Kubernetes protobuf prefix")
  end
  local unknown = small(body:sub(#magic + 1))
  local meta = small(as("string", unknown[1] or "", "typeMeta"))
  return as("string", meta[1] or "", "apiVersion"), as("string", meta[2] or "", "kind"),
    as("string", unknown[2] or "", "raw")
end

--- What a body says it is.
-- @treturn string  apiVersion, or nil, message, `"EBADMSG"`
-- @treturn string  kind
function protobuf.kind_of(body)
  local ok, version, kind = pcall(envelope, body)
  if ok then
    return version, kind
  end
  return nil, version.protobuf or error(version, 0), "EBADMSG"
end

--- Decode a request body.
-- @tparam string body  the envelope with its prefix
-- @tparam string type_name  of `moonlb.sandbox.types`; what the body has to be is the caller's to compare
-- @treturn table  the object in the JSON form, with kind and apiVersion, or nil, message, `"EBADMSG"`
function protobuf.decode(body, type_name)
  local ok, result = pcall(function()
    local version, kind, raw = envelope(body)
    local object = read_message(types.get(type_name), raw, 0)
    object.apiVersion, object.kind = version, kind
    return object
  end)
  if ok then
    return result
  elseif type(result) == "table" and result.protobuf then
    return nil, result.protobuf, "EBADMSG"
  end
  error(result, 0)
end

--- Can bodies of this type be read at all: does its table carry field numbers?
function protobuf.knows(type_name)
  return next(types.get(type_name).by_number) ~= nil
end

return protobuf
