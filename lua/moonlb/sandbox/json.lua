--- JSON that survives a round trip: `[]` stays a list, `{}` an object, 10 an integer, and null is told from absent.
-- lua-cjson 2.1.0 (which the controller uses) gives `{}` for an empty list and writes numbers by `%.14g`; dkjson 2.6
-- reads `[1 2]` and `{"a"}` without complaint and writes `{"n":3}` as a list of three nulls. A server that stores what
-- it is given can use neither. RFC 8259; objects are plain tables, lists carry the metatable that `json.list` sets.
-- @module moonlb.sandbox.json
local json = {}

local find, sub, byte, char, format = string.find, string.sub, string.byte, string.char, string.format
local concat, sort = table.concat, table.sort

local List = { __name = "moonlb.sandbox.json.list" }

--- The value of a JSON `null`.
json.null = setmetatable({}, { __name = "moonlb.sandbox.json.null", __tostring = function() return "null" end })

--- Nesting deeper than this is refused; Kubernetes objects stay far below it.
json.max_depth = 128

--- Mark a table as a JSON list (it may be empty).
-- @tparam[opt] table t  a sequence; changed in place
-- @treturn table  the same table
function json.list(t)
  return setmetatable(t or {}, List)
end

--- Is this value a list made by `json.list` or read from JSON?
function json.is_list(value)
  return getmetatable(value) == List
end

--- Is this value a JSON object: a table that is neither list nor null?
function json.is_object(value)
  return type(value) == "table" and value ~= json.null and getmetatable(value) ~= List
end

-- ---- decode ----

local function fail(text, at, what)
  local _, lines = sub(text, 1, at):gsub("\n", "")
  error({ json = format("%s at byte %d (line %d)", what, at, lines + 1) }, 0)
end

local function skip_space(text, at)
  return find(text, "[^ \t\r\n]", at) or #text + 1
end

local escapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- One `\uXXXX`, or two for a character outside the basic plane; a lone surrogate becomes U+FFFD as in Go.
local function unicode_escape(text, at)
  local digits = text:match("^%x%x%x%x", at + 2)
  if not digits then
    fail(text, at, "bad \\u escape")
  end
  local code = tonumber(digits, 16)
  if code < 0xD800 or code > 0xDFFF then
    return utf8.char(code), at + 6
  end
  local low = code < 0xDC00 and text:match("^\\u([dD][c-fC-F]%x%x)", at + 6)
  if not low then
    return utf8.char(0xFFFD), at + 6
  end
  return utf8.char(0x10000 + ((code - 0xD800) << 10) + (tonumber(low, 16) - 0xDC00)), at + 12
end

local function decode_string(text, at)
  local start = at + 1
  local stop = find(text, '["\\%c]', start)
  if stop and byte(text, stop) == 34 then
    return sub(text, start, stop - 1), stop + 1
  end
  local parts = {}
  while stop do
    parts[#parts + 1] = sub(text, start, stop - 1)
    local c = byte(text, stop)
    if c == 34 then
      return concat(parts), stop + 1
    elseif c == 127 then -- DEL is no control character to JSON
      parts[#parts + 1], start = "\127", stop + 1
    elseif c ~= 92 then
      fail(text, stop, "control character in a string")
    elseif byte(text, stop + 1) == 117 then
      parts[#parts + 1], start = unicode_escape(text, stop)
    else
      parts[#parts + 1] = escapes[sub(text, stop + 1, stop + 1)] or fail(text, stop, "unknown escape")
      start = stop + 2
    end
    stop = find(text, '["\\%c]', start)
  end
  fail(text, at, "unterminated string")
end

local decode_value

local function decode_list(text, at, depth)
  local list, n = json.list(), 0
  at = skip_space(text, at + 1)
  if byte(text, at) == 93 then
    return list, at + 1
  end
  while true do
    n = n + 1
    list[n], at = decode_value(text, at, depth)
    at = skip_space(text, at)
    local c = byte(text, at)
    if c == 93 then
      return list, at + 1
    elseif c ~= 44 then
      fail(text, at, "expected ',' or ']'")
    end
    at = skip_space(text, at + 1)
  end
end

local function decode_object(text, at, depth)
  local object = {}
  at = skip_space(text, at + 1)
  if byte(text, at) == 125 then
    return object, at + 1
  end
  while true do
    if byte(text, at) ~= 34 then
      fail(text, at, "expected a name in quotes")
    end
    local key
    key, at = decode_string(text, at)
    at = skip_space(text, at)
    if byte(text, at) ~= 58 then
      fail(text, at, "expected ':'")
    end
    object[key], at = decode_value(text, skip_space(text, at + 1), depth)
    at = skip_space(text, at)
    local c = byte(text, at)
    if c == 125 then
      return object, at + 1
    elseif c ~= 44 then
      fail(text, at, "expected ',' or '}'")
    end
    at = skip_space(text, at + 1)
  end
end

local function decode_number(text, at)
  local stop = select(2, find(text, "^-?%d+%.?%d*[eE]?[+-]?%d*", at))
  local digits = stop and sub(text, at, stop)
  if not digits or find(digits, "^-?0%d") or find(digits, "%.$") or find(digits, "%.[eE]") then
    fail(text, at, "bad number")
  end
  local number = tonumber(digits)
  if not number then
    fail(text, at, "bad number")
  end
  return number, stop + 1
end

local words = { t = { "true", true }, f = { "false", false }, n = { "null", json.null } }

function decode_value(text, at, depth)
  local c = sub(text, at, at)
  if c == '"' then
    return decode_string(text, at)
  elseif c == "{" or c == "[" then
    if depth >= json.max_depth then
      fail(text, at, "nested too deeply")
    end
    return (c == "{" and decode_object or decode_list)(text, at, depth + 1)
  end
  local word = words[c]
  if word and sub(text, at, at + #word[1] - 1) == word[1] then
    return word[2], at + #word[1]
  elseif c == "" then
    fail(text, at, "unexpected end")
  end
  return decode_number(text, at)
end

--- Read one JSON text.
-- @tparam string text
-- @return the value (`json.null` for null), or nil, message, `"EINVAL"`
function json.decode(text)
  local ok, value, at = pcall(decode_value, text, skip_space(text, 1), 0)
  if not ok then
    if type(value) ~= "table" or not value.json then
      error(value, 0)
    end
    return nil, value.json, "EINVAL"
  end
  at = skip_space(text, at)
  if at <= #text then
    return nil, format("more text after the value at byte %d", at), "EINVAL"
  end
  return value
end

-- ---- encode ----

local quoted = setmetatable({}, {
  __index = function(t, c)
    local text = format("\\u%04x", byte(c))
    t[c] = text
    return text
  end,
})
for name, c in pairs({ ['"'] = '"', ["\\"] = "\\", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }) do
  quoted[c] = "\\" .. name
end

local function encode_string(text)
  if find(text, '[%c"\\]') then
    text = text:gsub('[\0-\31"\\]', quoted)
  end
  return '"' .. text .. '"'
end

local function encode_number(value)
  if math.type(value) == "integer" then
    return format("%d", value)
  elseif value ~= value or value == math.huge or value == -math.huge then
    error("not a JSON number: " .. tostring(value), 0)
  end
  local whole = math.tointeger(value)
  return whole and format("%d", whole) or format("%.17g", value)
end

local encode_value

local function encode_list(list, out, n)
  out[n + 1] = "["
  n = n + 1
  for i = 1, #list do
    if i > 1 then
      n = n + 1
      out[n] = ","
    end
    n = encode_value(list[i], out, n)
  end
  out[n + 1] = "]"
  return n + 1
end

-- Names in order, so that equal objects give equal text.
local function encode_object(object, out, n)
  local names = {}
  for name in pairs(object) do
    names[#names + 1] = name
  end
  sort(names)
  n = n + 1
  out[n] = "{"
  for i = 1, #names do
    out[n + 1] = (i > 1 and "," or "") .. encode_string(names[i]) .. ":"
    n = encode_value(object[names[i]], out, n + 1)
  end
  out[n + 1] = "}"
  return n + 1
end

function encode_value(value, out, n)
  local kind = type(value)
  if kind == "table" then
    if getmetatable(value) == List then
      return encode_list(value, out, n)
    elseif value ~= json.null then
      return encode_object(value, out, n)
    end
    out[n + 1] = "null"
  elseif kind == "string" then
    out[n + 1] = encode_string(value)
  elseif kind == "number" then
    out[n + 1] = encode_number(value)
  elseif kind == "boolean" then
    out[n + 1] = value and "true" or "false"
  else
    error("no JSON for a " .. kind, 0)
  end
  return n + 1
end

--- Write a value as compact JSON. Raises on functions, on numbers JSON has not, and on list tables without `json.list`.
-- @return string
function json.encode(value)
  local out = {}
  encode_value(value, out, 0)
  return concat(out)
end

-- ---- values ----

--- A deep copy that keeps lists lists.
function json.copy(value)
  if type(value) ~= "table" or value == json.null then
    return value
  end
  local copy = setmetatable({}, getmetatable(value))
  for k, v in pairs(value) do
    copy[k] = json.copy(v)
  end
  return copy
end

--- Are two values the same JSON? An empty list is not an empty object.
function json.equal(a, b)
  if a == b then
    return true
  elseif type(a) ~= "table" or type(b) ~= "table" or getmetatable(a) ~= getmetatable(b) or a == json.null then
    return false
  end
  for k, v in pairs(a) do
    if not json.equal(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

--- Follow names into an object; nil where one is missing or null.
function json.at(value, ...)
  for i = 1, select("#", ...) do
    if type(value) ~= "table" then
      return nil
    end
    value = value[(select(i, ...))]
  end
  if value == json.null then
    return nil
  end
  return value
end

local base64_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Base64 with padding (RFC 4648 section 4), as JSON carries `[]byte` fields.
function json.base64(data)
  local out = {}
  for i = 1, #data, 3 do
    local a, b, c = byte(data, i, i + 2)
    local bits = (a << 16) | ((b or 0) << 8) | (c or 0)
    for shift = 18, 0, -6 do
      local index = (bits >> shift & 63) + 1
      out[#out + 1] = sub(base64_alphabet, index, index)
    end
    if not c then
      out[#out] = "="
    end
    if not b then
      out[#out - 1] = "="
    end
  end
  return concat(out)
end

--- The bytes of a base64 text, padded or not, either alphabet; nil when it is none.
function json.base64_decode(text)
  text = text:gsub("=+$", ""):gsub("%-", "+"):gsub("_", "/")
  if find(text, "[^%w+/]") or #text % 4 == 1 then
    return nil
  end
  local out, bits, count = {}, 0, 0
  for c in text:gmatch(".") do
    bits = (bits << 6 | (find(base64_alphabet, c, 1, true) - 1)) & 0xFFFFFF
    count = count + 6
    if count >= 8 then
      count = count - 8
      out[#out + 1] = char(bits >> count & 255)
    end
  end
  return concat(out)
end

return json
