--- Tab: names of the session, fields of live objects, namespaces and names of Services. Looks, never calls: no function
-- of the user's or of the session's runs for it.
-- @module moonlb.control.repl.complete
local collection = require("moonlb.control.repl.collection")

local complete = {}

local MOST = 64
local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
  "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }
local COMMANDS = { ":help", ":load ", ":quit", ":unload" }

local function is_name(text) return text:match("^[%a_][%w_]*$") ~= nil end

local function add(list, prefix, text)
  if text:sub(1, #prefix) == prefix and #list < MOST then list[#list + 1] = text end
end

-- The value that a path such as `services.shop["web-1"]` leads to, without calling anything; nil when it leads nowhere.
local function follow(environment, names, path)
  local root, rest = path:match("^([%a_][%w_]*)(.*)$")
  if not root then return nil end
  local value = rawget(environment, root)
  if value == nil then value = rawget(names, root) end
  while rest ~= "" do
    local key, after = rest:match("^%.([%a_][%w_]*)(.*)$")
    if not key then key, after = rest:match('^%[["\']([^"\']*)["\']%](.*)$') end
    if not key or type(value) ~= "table" then return nil end
    value = collection.of(value) and value[key] or rawget(value, key)
    rest = after
  end
  return value
end

-- The path such as `services.shop["web-1"]` that a text ends in; nil when it ends in none.
local function path_at_end(text)
  local last = #text
  while true do
    local before = text:sub(1, last)
    local from = before:find('%[["\'][^"\']*["\']%]$') or before:find("%.[%a_][%w_]*$")
    if not from then break end
    last = from - 1
  end
  local root = text:sub(1, last):match("[%a_][%w_]*$")
  return root and text:sub(last - #root + 1)
end

local function keys_of(value, prefix)
  if collection.of(value) then return collection.names(value, prefix) end
  local keys = {}
  for key in next, value do
    if type(key) == "string" then add(keys, prefix, key) end
  end
  table.sort(keys)
  return keys
end

local function names_from(environment, names, prefix)
  local list, seen = {}, {}
  for _, map in ipairs({ environment, names }) do
    for key in next, map do
      if type(key) == "string" and not seen[key] then
        seen[key] = true
        add(list, prefix, key)
      end
    end
  end
  if prefix ~= "" then
    for _, word in ipairs(KEYWORDS) do add(list, prefix, word) end
  end
  table.sort(list)
  return list
end

local function common_start(list)
  local first = list[1] or ""
  for _, text in ipairs(list) do
    while text:sub(1, #first) ~= first do first = first:sub(1, -2) end
  end
  return first
end

-- What to type after `prefix` for these ways to go on, and what to show.
local function result(list, prefix, ending)
  if #list == 0 then return "", "" end
  local insert = common_start(list):sub(#prefix + 1)
  if #list == 1 then return insert .. (ending or ""), "" end
  if insert ~= "" then return insert, "" end
  return "", table.concat(list, "  ")
end

-- Keys behind a dot; one that is no name needs brackets, and the dot goes: that cannot be typed for the user, so it is
-- shown.
local function after_dot(value, prefix)
  local plain, shown = {}, {}
  for _, key in ipairs(keys_of(value, prefix)) do
    if is_name(key) then plain[#plain + 1] = key else shown[#shown + 1] = collection.accessor(key) end
  end
  if #shown == 0 then return result(plain, prefix) end
  table.move(plain, 1, #plain, #shown + 1, shown)
  return "", table.concat(shown, "  ")
end

-- Within quotes after `what[` or `function(`.
local function in_quotes(environment, names, before)
  local outer, quote, prefix = before:match('^(.*)%[(["\'])([^"\']*)$')
  local path = outer and path_at_end(outer)
  if path then
    local value = follow(environment, names, path)
    if type(value) ~= "table" then return "", "" end
    return result(keys_of(value, prefix), prefix, quote .. "]")
  end
  local name
  name, quote, prefix = before:match('([%a_]+)%s*%(?%s*(["\'])([^"\']*)$')
  if name == "explain" then
    return result(collection.names(names.services, prefix), prefix, prefix:find("/", 1, true) and quote or "/")
  end
  if name == "probe" or name == "who_has" or name == "announce" or name == "move" or name == "release" then
    return result(collection.names(names.vips, prefix), prefix, quote)
  end
  return "", ""
end

--- @tparam table session  `environment`, `names`
-- @tparam string before  the line up to the cursor
-- @treturn string  to be typed for the user
-- @treturn string  to be shown
function complete.at(session, before)
  local environment, names = session.environment, session.names
  if before:match("^:") then
    local list = {}
    for _, command in ipairs(COMMANDS) do add(list, before, command) end
    return result(list, before)
  end
  if before:match('[%[%(%s%a]["\'][^"\']*$') and select(2, before:gsub('["\']', "")) % 2 == 1 then
    return in_quotes(environment, names, before)
  end
  local topic = before:match("^%s*help%s+([%a_]*)$")
  if topic then return result(names_from({}, names, topic), topic) end
  local outer, prefix = before:match("^(.*)%.([%w_]*)$")
  local path = outer and path_at_end(outer)
  if path then
    local value = follow(environment, names, path)
    if type(value) ~= "table" then return "", "" end
    return after_dot(value, prefix)
  end
  prefix = before:match("([%a_][%w_]*)$") or ""
  if prefix == "" and before:match("%S") then return "", "" end
  return result(names_from(environment, names, prefix), prefix)
end

return complete
