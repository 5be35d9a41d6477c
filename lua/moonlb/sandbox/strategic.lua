--- Patches that know the types: strategic merge (what kubectl sends by default) and apply (server-side).
-- Order and directives as in Kubernetes' community document "Strategic Merge Patch". The target is never changed.
--
-- Apply is a merge by the lists' keys. The sandbox keeps no managedFields, so there are no conflicts between managers,
-- and a field that leaves an applied configuration stays in the object.
-- @module moonlb.sandbox.strategic
local json = require("moonlb.sandbox.json")
local patch = require("moonlb.sandbox.patch")

local strategic = {}

local function fail(what)
  error({ strategic = what }, 0)
end

-- What tells the element apart from others: its merge key's text. Ports without a protocol are TCP.
local function identity(element, keys)
  if keys[1] == "." then
    return tostring(element)
  elseif not json.is_object(element) then
    fail("an object expected in the list")
  end
  local parts = {}
  for i, key in ipairs(keys) do
    local value = element[key]
    if value == nil and key == "protocol" then
      value = "TCP"
    elseif value == nil then
      fail("map: " .. json.encode(element) .. " does not contain declared merge key: " .. key)
    end
    parts[i] = tostring(value)
  end
  return table.concat(parts, "/")
end

local function positions(list, keys)
  local by_identity = {}
  for i, element in ipairs(list) do
    by_identity[identity(element, keys)] = i
  end
  return by_identity
end

-- Elements that the patch names in its order, the others where they stood before: an element the patch does not name
-- comes first only if it stood before the next named one.
local function in_order(merged, order, before, keys)
  local named, named_at, rest = {}, {}, {}
  for _, element in ipairs(order) do
    local id = identity(element, keys)
    if not named_at[id] then
      named[#named + 1] = id
      named_at[id] = #named
    end
  end
  local by_identity = {}
  for _, element in ipairs(merged) do
    local id = identity(element, keys)
    by_identity[id] = element
    if not named_at[id] then
      rest[#rest + 1] = id
    end
  end
  local result, i, j = json.list(), 1, 1
  while i <= #rest or j <= #named do
    local take_rest = j > #named
    if i <= #rest and j <= #named then
      local here, there = before[rest[i]], before[named[j]]
      take_rest = here and there and here < there
    end
    local id = take_rest and rest[i] or named[j]
    i, j = i + (take_rest and 1 or 0), j + (take_rest and 0 or 1)
    result[#result + 1] = by_identity[id]
  end
  return result
end

local merge_value

-- "$patch" in a list's element: { delete = {identity = true}, replace = boolean }, and the elements without it.
local function list_directives(change, keys)
  local plain, deleted, replace = json.list(), {}, false
  for _, element in ipairs(change) do
    local directive = json.is_object(element) and element["$patch"]
    if directive == "delete" then
      deleted[identity(element, keys)] = true
    elseif directive == "replace" then
      replace = true
    elseif directive and directive ~= "merge" then
      fail("unknown patch type: " .. tostring(directive))
    elseif element ~= json.null then
      plain[#plain + 1] = element
    end
  end
  return plain, deleted, replace
end

local function merge_list(target, change, field, mode, order)
  local keys = field.merge
  if mode == "strategic" then
    keys = { keys[1] }
  end
  local plain, deleted, replace = list_directives(change, keys)
  if replace then
    return json.copy(plain)
  end
  local before = positions(target, keys)
  local merged = json.list()
  for _, element in ipairs(target) do
    if not deleted[identity(element, keys)] then
      merged[#merged + 1] = element
    end
  end
  local index = positions(merged, keys)
  for _, element in ipairs(plain) do
    local id = identity(element, keys)
    local at = index[id] or #merged + 1
    merged[at] = keys[1] == "." and element or merge_value(merged[at], element, field.type.of, mode)
    index[id] = at
  end
  return mode == "apply" and merged or in_order(merged, order or plain, before, keys)
end

local function without(list, removed)
  local gone, result = {}, json.list()
  for _, value in ipairs(removed) do
    gone[value] = true
  end
  for _, value in ipairs(list) do
    if not gone[value] then
      result[#result + 1] = value
    end
  end
  return result
end

local function check_list(value, name)
  if not json.is_list(value) then
    fail(name .. ": a list expected")
  end
  return value
end

local function merge_field(result, name, change, object_type, mode, orders)
  local field = object_type.fields and object_type.fields[name]
  local value = change[name]
  if value == json.null then
    result[name] = nil
  elseif field and field.merge then
    local target = json.is_list(result[name]) and result[name] or json.list()
    result[name] = merge_list(target, check_list(value, name), field, mode, orders[name])
  else
    result[name] = merge_value(result[name], value, field and field.type or { form = "any" }, mode)
  end
end

-- The directives of an object: "$retainKeys", "$deleteFromPrimitiveList/x" and "$setElementOrder/x", which is returned.
local function object_directives(result, change, object_type)
  local orders = {}
  for name, value in pairs(change) do
    local verb, of = name:match("^%$(%a+)/(.+)$")
    if verb == "setElementOrder" then
      orders[of] = check_list(value, name)
    elseif verb == "deleteFromPrimitiveList" and json.is_list(result[of]) then
      result[of] = without(result[of], check_list(value, name))
    elseif name == "$retainKeys" then
      local kept = {}
      for _, key in ipairs(check_list(value, name)) do
        kept[key] = result[key]
      end
      for key in pairs(result) do
        result[key] = kept[key]
      end
    end
  end
  for name, order in pairs(orders) do -- an order alone, with no change to the list
    local field = object_type.fields and object_type.fields[name]
    if field and field.merge and change[name] == nil and json.is_list(result[name]) then
      local keys = { field.merge[1] }
      local present, known = positions(result[name], keys), json.list()
      for _, element in ipairs(order) do
        if present[identity(element, keys)] then
          known[#known + 1] = element
        end
      end
      result[name] = in_order(result[name], known, present, keys)
    end
  end
  return orders
end

local function merge_object(target, change, object_type, mode)
  local directive = mode == "strategic" and change["$patch"]
  if directive == "delete" then
    return {}
  end
  local result = json.is_object(target) and directive ~= "replace" and json.copy(target) or {}
  local orders = mode == "strategic" and object_directives(result, change, object_type) or {}
  for name in pairs(change) do
    if mode == "apply" or name:sub(1, 1) ~= "$" then
      merge_field(result, name, change, object_type, mode, orders)
    end
  end
  return result
end

function merge_value(target, change, value_type, mode)
  if not json.is_object(change) then
    return json.copy(change)
  elseif value_type.form == "object" or value_type.form == "any" then
    return merge_object(target, change, value_type, mode)
  elseif value_type.form == "map" then
    return merge_object(target, change, { fields = {} }, mode)
  end
  return patch.merge(target, change)
end

local function run(target, change, value_type, mode)
  local ok, result = pcall(merge_value, target, change, value_type, mode)
  if ok then
    return result
  elseif type(result) == "table" and result.strategic then
    return nil, result.strategic, "EINVAL"
  end
  error(result, 0)
end

--- Apply a strategic merge patch.
-- @param target  the object; @param change  the patch; @tparam table value_type  of `moonlb.sandbox.types`
-- @return a new object, or nil, message, `"EINVAL"`
function strategic.merge(target, change, value_type)
  return run(target, change, value_type, "strategic")
end

--- Apply an apply configuration: as above without directives, list elements found by all their keys.
-- @return a new object, or nil, message, `"EINVAL"`
function strategic.apply(target, change, value_type)
  return run(target, change, value_type, "apply")
end

return strategic
