--- Patches without a schema: JSON merge patch (RFC 7386) and JSON patch (RFC 6902). The target is never changed.
-- @module moonlb.sandbox.patch
local json = require("moonlb.sandbox.json")

local patch = {}

--- Apply a JSON merge patch (RFC 7386 section 2).
-- @param target  decoded JSON, or nil
-- @param change  the patch; null removes a name, a list replaces a list
-- @return a new value
function patch.merge(target, change)
  if not json.is_object(change) then
    return json.copy(change)
  end
  local result = json.is_object(target) and json.copy(target) or {}
  for name, value in pairs(change) do
    if value == json.null then
      result[name] = nil
    else
      result[name] = patch.merge(result[name], value)
    end
  end
  return result
end

-- ---- RFC 6902 ----

local function fail(what)
  error({ patch = what }, 0)
end

-- "/spec/ports/0" -> { "spec", "ports", "0" } (RFC 6901 section 3)
local function pointer(text)
  if type(text) ~= "string" or (text ~= "" and text:sub(1, 1) ~= "/") then
    fail("not a JSON pointer: " .. tostring(text))
  end
  local parts = {}
  for part in text:gmatch("/([^/]*)") do
    if part:find("~[^01]") or part:find("~$") then
      fail("bad escape in JSON pointer: " .. text)
    end
    parts[#parts + 1] = part:gsub("~1", "/"):gsub("~0", "~")
  end
  return parts
end

-- The list index a reference token names, 1-based; `last` is the highest that is allowed (RFC 6901 section 4).
local function index_of(token, last)
  if not (token:match("^[1-9]%d*$") or token == "0") then
    fail("not a list index: " .. token)
  end
  local index = math.tointeger(tonumber(token)) + 1
  if index > last then
    fail("list index out of range: " .. token)
  end
  return index
end

local function child(value, token)
  local found
  if json.is_list(value) then
    found = value[index_of(token, #value)]
  elseif json.is_object(value) then
    found = value[token]
  end
  if found == nil then
    fail("missing path: " .. token)
  end
  return found
end

local function parent_of(document, parts)
  local value = document
  for i = 1, #parts - 1 do
    value = child(value, parts[i])
  end
  return value, parts[#parts]
end

local function add(document, parts, value)
  if #parts == 0 then
    return value
  end
  local parent, token = parent_of(document, parts)
  if json.is_list(parent) then
    table.insert(parent, token == "-" and #parent + 1 or index_of(token, #parent + 1), value)
  elseif json.is_object(parent) then
    parent[token] = value
  else
    fail("not an object or list above: " .. token)
  end
  return document
end

local function remove(document, parts)
  if #parts == 0 then
    fail("the whole document cannot be removed")
  end
  local parent, token = parent_of(document, parts)
  local value = child(parent, token)
  if json.is_list(parent) then
    table.remove(parent, index_of(token, #parent))
  else
    parent[token] = nil
  end
  return document, value
end

local function at(document, parts)
  local value = document
  for _, token in ipairs(parts) do
    value = child(value, token)
  end
  return value
end

local function needed(operation, name)
  local value = operation[name]
  if value == nil then
    fail(("operation %s has no %s"):format(tostring(operation.op), name))
  end
  return value
end

local operations = {
  add = function(document, path, operation)
    return add(document, path, json.copy(needed(operation, "value")))
  end,
  remove = function(document, path)
    return (remove(document, path))
  end,
  replace = function(document, path, operation)
    local value = json.copy(needed(operation, "value"))
    if #path == 0 then
      return value
    end
    return add(remove(document, path), path, value)
  end,
  move = function(document, path, operation)
    local from = pointer(needed(operation, "from"))
    if operation.path:sub(1, #operation.from + 1) == operation.from .. "/" then
      fail("a value cannot be moved into itself")
    end
    local value
    document, value = remove(document, from)
    return add(document, path, value)
  end,
  copy = function(document, path, operation)
    return add(document, path, json.copy(at(document, pointer(needed(operation, "from")))))
  end,
  test = function(document, path, operation)
    if not json.equal(at(document, path), needed(operation, "value")) then
      fail("test failed: " .. operation.path)
    end
    return document
  end,
}

local function run(target, list)
  local document = json.copy(target)
  for _, operation in ipairs(list) do
    local apply = json.is_object(operation) and operations[operation.op]
    if not apply then
      fail("unknown operation")
    end
    document = apply(document, pointer(needed(operation, "path")), operation)
  end
  return document
end

--- Apply a JSON patch (RFC 6902): all of it or nothing.
-- @param target  decoded JSON
-- @tparam table list  a JSON list of operations
-- @return a new value, or nil, message, `"EINVAL"`
function patch.json_patch(target, list)
  local ok, result = pcall(run, target, list)
  if ok then
    return result
  elseif type(result) == "table" and result.patch then
    return nil, result.patch, "EINVAL"
  end
  error(result, 0)
end

return patch
