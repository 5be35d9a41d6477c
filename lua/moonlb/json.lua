--- JSON as we write it: arrays stay arrays when empty, keys are sorted, integers have no fraction (RFC 8259).
-- Reading is lua-cjson's work; what it read is never written back (it turns `[]` into `{}`).
-- @module moonlb.json
local cjson = require("cjson")

local json = {}

--- The value `null`; the same as `cjson.null`.
json.null = cjson.null

local ARRAY = { __name = "moonlb.json.array" }

--- Mark a table as an array, so that it is one even when empty.
-- @tparam[opt] table items
-- @treturn table  the same table
function json.array(items)
  return setmetatable(items or {}, ARRAY)
end

local OBJECT = { __name = "moonlb.json.object" }

--- Mark a table as an object, whatever its keys look like.
-- @tparam[opt] table members
-- @treturn table  the same table
function json.object(members)
  return setmetatable(members or {}, OBJECT)
end

--- "array" or "object" for what `array` and `object` marked; else nil.
function json.kind(value)
  local mark = getmetatable(value)
  return mark == ARRAY and "array" or mark == OBJECT and "object" or nil
end

local WRITTEN = { __name = "moonlb.json.written" }

--- A value that is written already: its text stands where it is used. For long answers that are made in slices.
-- @param value  see `json.encode`
-- @treturn table
function json.written(value)
  return setmetatable({ json.encode(value) }, WRITTEN)
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\\127]', function(char)
    return ESCAPES[char] or ("\\u%04x"):format(char:byte())
  end) .. '"'
end

local function number(value)
  local integer = math.tointeger(value)
  if integer then return ("%d"):format(integer) end
  if value ~= value or value == math.huge or value == -math.huge then error("not a JSON number: " .. value, 0) end
  return ("%.17g"):format(value)
end

local write

local function write_items(out, open, close, count, each, indent, level)
  if count == 0 then
    out[#out + 1] = open .. close
    return
  end
  local inner = indent and "\n" .. indent:rep(level + 1) or ""
  out[#out + 1] = open .. inner
  for i = 1, count do
    if i > 1 then out[#out + 1] = "," .. inner end
    each(i)
  end
  out[#out + 1] = (indent and "\n" .. indent:rep(level) or "") .. close
end

local function write_object(out, value, indent, level)
  local keys = {}
  for key in pairs(value) do
    if type(key) ~= "string" then error("a JSON object has string keys, not " .. type(key), 0) end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  write_items(out, "{", "}", #keys, function(i)
    out[#out + 1] = quote(keys[i]) .. (indent and ": " or ":")
    write(out, value[keys[i]], indent, level + 1)
  end, indent, level)
end

local function write_array(out, value, indent, level)
  write_items(out, "[", "]", #value, function(i)
    write(out, value[i], indent, level + 1)
  end, indent, level)
end

function write(out, value, indent, level)
  local kind = type(value)
  if value == json.null or kind == "nil" then
    out[#out + 1] = "null"
  elseif kind == "string" then
    out[#out + 1] = quote(value)
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(value)
  elseif kind ~= "table" then
    error("not a JSON value: " .. kind, 0)
  elseif getmetatable(value) == WRITTEN then
    out[#out + 1] = value[1]
  elseif getmetatable(value) == ARRAY or (value[1] ~= nil and getmetatable(value) ~= OBJECT) then
    write_array(out, value, indent, level)
  else
    write_object(out, value, indent, level)
  end
end

--- The text of a value. A table is an array when marked by `json.array` or when it has an item 1, else an object.
-- @param value  nil, boolean, number, string, `json.null`, or a table of these; raises for anything else
-- @tparam[opt] string indent  one level's indentation; without it all is on one line
-- @treturn string
function json.encode(value, indent)
  local out = {}
  write(out, value, indent, 0)
  return table.concat(out)
end

return json
