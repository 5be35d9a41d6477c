--- Label and field selectors of list and watch requests.
-- Grammar: Kubernetes' documentation, "Field Selectors"; labels in moonlb.kube.label_selector.
-- @module moonlb.sandbox.selectors
local label_selector = require("moonlb.kube.label_selector")

local selectors = {}

--- Read a label selector: moonlb.kube.label_selector.
selectors.labels = label_selector.parse

-- ---- fields ----

-- The value of a dotted path as text; "" where there is none.
local function field_text(object, path)
  local value = object
  for part in path:gmatch("[^.]+") do
    if type(value) ~= "table" then
      return ""
    end
    value = value[part]
  end
  return (value == nil or type(value) == "table") and "" or tostring(value)
end

local function unknown_field(path, fields)
  if fields.strict then
    return "field label not supported: " .. path
  end
  return ('"%s" is not a known field selector: only "metadata.name", "metadata.namespace"'):format(path)
end

--- Read a field selector.
-- @tparam string text  `metadata.name=x,status.phase!=y`
-- @tparam table fields  known paths besides metadata.name and .namespace: selector path -> path in the object;
--   `strict`: the wording of kinds that have their own list
-- @treturn function  `fn(object) -> boolean`, or nil, message, `"EINVAL"`
-- @treturn table  what must be equal: `{["metadata.name"]="x"}`, for look-ups by name
function selectors.fields(text, fields)
  local terms, equal = {}, {}
  for term in text:gmatch("[^,]+") do
    local path, operator, value = term:match("^%s*([%w.]+)(!?==?)(.*)$")
    if not path then
      return nil, ("invalid selector: '%s'; can't understand '%s'"):format(text, term), "EINVAL"
    end
    local where = (path == "metadata.name" or path == "metadata.namespace") and path or fields[path]
    if type(where) ~= "string" then
      return nil, unknown_field(path, fields), "EINVAL"
    end
    local wanted = operator:sub(1, 1) ~= "!"
    terms[#terms + 1] = { path = where, value = value, wanted = wanted }
    equal[where] = wanted and value or equal[where]
  end
  return function(object)
    for _, term in ipairs(terms) do
      if (field_text(object, term.path) == term.value) ~= term.wanted then
        return false
      end
    end
    return true
  end, equal
end

return selectors
