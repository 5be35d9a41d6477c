--- Kubernetes manifests from files: YAML with several documents, JSON, Lists, folders, standard input.
-- @module moonlb.cli.manifests
local cjson = require("cjson")
local lyaml = require("lyaml")
local uv = require("luv")

local manifests = {}

local MAX_BYTES = 256 << 20

-- Where in a text a byte lies: "line 3".
local function line_at(text, position)
  local _, breaks = text:sub(1, position):gsub("\n", "")
  return breaks + 1
end

local function read_all(path)
  local file, message = path == "-" and io.stdin or nil, nil
  if not file then file, message = io.open(path, "rb") end
  if not file then return nil, message, "ENOENT" end
  local text, problem = file:read(MAX_BYTES)
  if file ~= io.stdin then file:close() end
  if problem then return nil, path .. ": " .. problem, "EIO" end
  return text or ""
end

local function is_null(value)
  return value == cjson.null or value == lyaml.null
end

-- Take out nulls, which mean "not set". Aliases may make a document a graph: each table once.
local function without_nulls(value, seen)
  if type(value) ~= "table" or seen[value] then return value end
  seen[value] = true
  for key, item in pairs(value) do
    if is_null(item) then value[key] = nil else without_nulls(item, seen) end
  end
  return value
end

local function parse_json(name, text)
  local ok, value = pcall(cjson.decode, text)
  if ok then return { value } end
  local position = tonumber(value:match("at character (%d+)"))
  local what = value:gsub("^.-:%d+: ", ""):gsub(" at character %d+", "")
  return nil, ("%s:%d: %s"):format(name, position and line_at(text, position) or 1, what), "EINVAL"
end

local function parse_yaml(name, text)
  local ok, documents = pcall(lyaml.load, text, { all = true })
  if ok then return documents end
  local line, what = tostring(documents):match("(%d+):%d+: (.*)$")
  return nil, ("%s:%s: %s"):format(name, line or "1", (what or tostring(documents)):gsub("%s+", " ")), "EINVAL"
end

local function add_object(objects, object, where)
  if type(object) ~= "table" then return nil, where .. ": an object expected, not " .. type(object), "EINVAL" end
  if type(object.kind) ~= "string" then return nil, where .. ": an object has a kind", "EINVAL" end
  local kind = object.kind:match("^(.*)List$")
  if kind then
    local items = object.items or {}
    if type(items) ~= "table" then return nil, where .. ": items is no list", "EINVAL" end
    for i, item in ipairs(items) do
      if type(item) == "table" and kind ~= "" then item.kind = item.kind or kind end
      local ok, message, code = add_object(objects, item, ("%s, item %d"):format(where, i))
      if not ok then return nil, message, code end
    end
    return true
  end
  local metadata = object.metadata
  if type(metadata) ~= "table" or metadata.name == nil then
    return nil, ("%s: a %s without metadata.name"):format(where, object.kind), "EINVAL"
  end
  metadata.name = tostring(metadata.name)
  objects[#objects + 1] = object
  return true
end

--- Parse a text: JSON when it starts with a brace, else YAML.
-- @tparam string name  for messages
-- @tparam string text
-- @tparam[opt] table objects  array to add to
-- @treturn table|nil  array of objects, Lists taken apart, nulls taken out; or nil, message with file and line,
-- `"EINVAL"`
function manifests.parse(name, text, objects)
  objects = objects or {}
  local parse = text:find("^%s*{") and parse_json or parse_yaml
  local documents, message, code = parse(name, text)
  if not documents then return nil, message, code end
  for i, document in ipairs(documents) do
    if not is_null(document) then
      local where = #documents > 1 and ("%s, document %d"):format(name, i) or name
      local ok
      ok, message, code = add_object(objects, without_nulls(document, {}), where)
      if not ok then return nil, message, code end
    end
  end
  return objects
end

local function files_of(folder)
  local scan, message = uv.fs_scandir(folder)
  if not scan then return nil, message, "ENOENT" end
  local names = {}
  for name in function() return uv.fs_scandir_next(scan) end do
    if name:find("%.ya?ml$") or name:find("%.json$") then names[#names + 1] = folder:gsub("/$", "") .. "/" .. name end
  end
  table.sort(names)
  if not names[1] then return nil, folder .. ": no *.yaml, *.yml or *.json in it", "ENOENT" end
  return names
end

local function expand(paths)
  local files = {}
  for _, path in ipairs(paths) do
    local stat = path ~= "-" and uv.fs_stat(path)
    if stat and stat.type == "directory" then
      local names, message, code = files_of(path)
      if not names then return nil, message, code end
      table.move(names, 1, #names, #files + 1, files)
    else
      files[#files + 1] = path
    end
  end
  return files
end

--- Read manifests.
-- @tparam table paths  files, folders (their *.yaml, *.yml and *.json, by name) and `-` for standard input
-- @treturn table|nil  array of objects; or nil, one line with file and line, code
function manifests.read(paths)
  local files, message, code = expand(paths)
  if not files then return nil, message, code end
  local objects = {}
  for _, path in ipairs(files) do
    local text
    text, message, code = read_all(path)
    if not text then return nil, message, code end
    local ok
    ok, message, code = manifests.parse(path == "-" and "standard input" or path, text, objects)
    if not ok then return nil, message, code end
  end
  return objects
end

return manifests
