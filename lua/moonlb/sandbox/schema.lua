--- Decoding into a type: unknown fields are found (for `fieldValidation`), wrong JSON types refused, nulls dropped,
-- times normalized as the API server writes them back.
-- @module moonlb.sandbox.schema
local clock = require("moonlb.sandbox.clock")
local json = require("moonlb.sandbox.json")

local schema = {}

local function refuse(path, what)
  error({ schema = ("%s: %s"):format(path == "" and "the object" or path, what) }, 0)
end

local go_names = { string = "string", number = "number", boolean = "bool", table = "object" }

local function json_name(value)
  return json.is_list(value) and "array" or go_names[type(value)]
end

local function want(kind)
  return function(value, path, name)
    if type(value) ~= kind then
      refuse(path, ("cannot unmarshal %s into Go value of type %s"):format(json_name(value), name))
    end
    return value
  end
end

local function whole_number(value, path)
  local whole = math.type(value) and math.tointeger(value)
  if not whole then
    refuse(path, ("cannot unmarshal %s into Go value of type int32"):format(json_name(value)))
  end
  return whole
end

-- RFC 3339 text -> UTC text with `digits` digits of a second's fraction.
local function rfc3339(value, path, fraction_pattern, layout)
  local bad = ('parsing time "%s" as "%s"'):format(tostring(value), layout)
  if type(value) ~= "string" then
    refuse(path, bad)
  end
  local fraction, zone = value:match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d([.%d]*)([Z+-].*)$")
  if not fraction or not fraction:match(fraction_pattern) then
    refuse(path, bad)
  end
  local seconds = clock.seconds(value)
  if not seconds then
    refuse(path, bad)
  elseif zone == "Z" then
    return value:sub(1, 19), fraction
  end
  local sign, zh, zm = zone:match("^([+-])(%d%d):(%d%d)$")
  if not sign then
    refuse(path, bad)
  end
  local offset = (tonumber(zh) * 60 + tonumber(zm)) * (sign == "-" and -60 or 60)
  return clock.text(seconds - offset):sub(1, 19), fraction
end

local readers = {
  string = want("string"),
  bool = want("boolean"),
  number = want("number"),
  int = whole_number,
  any = function(value) return value end,
  intstr = function(value, path)
    return type(value) == "string" and value or whole_number(value, path)
  end,
  bytes = function(value, path)
    if type(value) ~= "string" or not json.base64_decode(value) then
      refuse(path, "illegal base64 data")
    end
    return value
  end,
  time = function(value, path)
    return rfc3339(value, path, "^%.?%d*$", "2006-01-02T15:04:05Z07:00") .. "Z"
  end,
  micro = function(value, path)
    local seconds, fraction = rfc3339(value, path, "^%.%d%d%d%d%d%d$", "2006-01-02T15:04:05.000000Z07:00")
    return seconds .. fraction .. "Z"
  end,
}

local read

local function read_list(list_type, value, path, unknown)
  if not json.is_list(value) then
    refuse(path, ("cannot unmarshal %s into Go value of type []%s"):format(json_name(value),
      list_type.of.name or list_type.of.form))
  end
  local list = json.list()
  for i = 1, #value do
    if value[i] ~= json.null then
      list[#list + 1] = read(list_type.of, value[i], ("%s[%d]"):format(path, i - 1), unknown)
    end
  end
  return list
end

local function read_map(map_type, value, path, unknown)
  if not json.is_object(value) then
    refuse(path, ("cannot unmarshal %s into Go value of type map"):format(json_name(value)))
  end
  local map = {}
  for key, element in pairs(value) do
    if element == json.null then
      -- Go reads null as the zero value of the map's elements
      map[key] = (map_type.of.form == "string" or map_type.of.form == "bytes") and "" or nil
    else
      map[key] = read(map_type.of, element, path .. "." .. key, unknown)
    end
  end
  return map
end

local function read_object(object_type, value, path, unknown)
  if not json.is_object(value) then
    refuse(path, ("cannot unmarshal %s into Go value of type %s"):format(json_name(value), object_type.name))
  end
  local object = {}
  for name, element in pairs(value) do
    local field = object_type.fields[name]
    local below = path == "" and name or path .. "." .. name
    if field then
      if element ~= json.null then
        object[name] = read(field.type, element, below, unknown)
      end
    elseif object_type.open then
      object[name] = element
    else
      unknown[#unknown + 1] = below
    end
  end
  return object
end

function read(value_type, value, path, unknown)
  local form = value_type.form
  if form == "object" then
    return read_object(value_type, value, path, unknown)
  elseif form == "list" then
    return read_list(value_type, value, path, unknown)
  elseif form == "map" then
    return read_map(value_type, value, path, unknown)
  end
  return readers[form](value, path, form)
end

--- Read a value as a type. `kind` and `apiVersion` at the top are the caller's and left out of the result.
-- @tparam table value_type  of `moonlb.sandbox.types`
-- @tparam table value  decoded JSON; not changed
-- @treturn table  a new object holding known fields only, or nil, message, `"EINVAL"`
-- @treturn table  paths of unknown fields (`spec.ports[0].bogus`), in order
function schema.read(value_type, value)
  local unknown, top = {}, value
  if json.is_object(value) then
    top = {}
    for name, element in pairs(value) do
      if name ~= "kind" and name ~= "apiVersion" then
        top[name] = element
      end
    end
  end
  local ok, result = pcall(read, value_type, top, "", unknown)
  if ok then
    table.sort(unknown)
    return result, unknown
  elseif type(result) == "table" and result.schema then
    return nil, "json: " .. result.schema, "EINVAL"
  end
  error(result, 0)
end

return schema
