--- Label selectors, as kubectl's `-l` takes them.
-- Grammar: Kubernetes' documentation, "Labels and Selectors".
-- @module moonlb.kube.label_selector
local label_selector = {}

local function tokens(text)
  local list, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then
      return list
    end
    local token = text:match("^[=!]=", at) or text:match("^[=!,()<>]", at) or text:match("^[^=!,()<>%s]+", at)
    list[#list + 1] = token
    at = at + #token
  end
end

local function refuse(found, expected)
  error({ selector = ("unable to parse requirement: found '%s', expected: %s"):format(found or "", expected) }, 0)
end

local function is_word(token)
  return token and not token:match("^[=!,()<>]")
end

local function parse_set(list, at)
  local values = {}
  if list[at] ~= "(" then
    refuse(list[at], "'('")
  end
  at = at + 1
  if list[at] == ")" then
    return { [""] = true }, at + 1
  end
  while true do
    if is_word(list[at]) then
      values[list[at]] = true
      at = at + 1
    else
      values[""] = true
    end
    if list[at] == ")" then
      return values, at + 1
    elseif list[at] ~= "," then
      refuse(list[at], "',' or ')'")
    end
    at = at + 1
  end
end

local function parse_requirement(list, at)
  if list[at] == "!" then
    if not is_word(list[at + 1]) then
      refuse(list[at + 1], "identifier")
    end
    return { key = list[at + 1], operator = "absent" }, at + 2
  elseif not is_word(list[at]) then
    refuse(list[at], "identifier")
  end
  local key, operator = list[at], list[at + 1]
  if operator == nil or operator == "," then
    return { key = key, operator = "exists" }, at + 1
  elseif operator == "in" or operator == "notin" then
    local values, after = parse_set(list, at + 2)
    return { key = key, operator = operator, values = values }, after
  elseif operator == "=" or operator == "==" or operator == "!=" then
    local value, after = "", at + 2
    if is_word(list[after]) then
      value, after = list[after], after + 1
    end
    return { key = key, operator = operator == "!=" and "notin" or "in", values = { [value] = true } }, after
  end
  refuse(operator, "in, notin, =, ==, !=")
end

local function parse_labels(text)
  local list, at, requirements = tokens(text), 1, {}
  while list[at] do
    requirements[#requirements + 1], at = parse_requirement(list, at)
    if list[at] == "," then
      at = at + 1
      if not list[at] then
        refuse("", "identifier after ','")
      end
    elseif list[at] then
      refuse(list[at], "',' or 'end of string'")
    end
  end
  return requirements
end

local function label_holds(requirement, labels)
  local value = labels[requirement.key]
  if requirement.operator == "exists" then
    return value ~= nil
  elseif requirement.operator == "absent" then
    return value == nil
  elseif requirement.operator == "in" then
    return value ~= nil and requirement.values[value] == true
  end
  return value == nil or not requirement.values[value]
end

--- Read a label selector.
-- @tparam string text  `a=b,c!=d,e in (f,g),!h`
-- @treturn function  `fn(object) -> boolean`, or nil, message, `"EINVAL"`
function label_selector.parse(text)
  local ok, requirements = pcall(parse_labels, text)
  if not ok then
    if type(requirements) ~= "table" then
      error(requirements, 0)
    end
    return nil, requirements.selector, "EINVAL"
  end
  return function(object)
    local labels = object.metadata.labels or {}
    for _, requirement in ipairs(requirements) do
      if not label_holds(requirement, labels) then
        return false
      end
    end
    return true
  end
end

return label_selector
