--- Answers as text. What was encoded from a stored object is kept with its record, so that 10,000 Services are encoded
-- once, however often they are listed and watched.
-- @module moonlb.sandbox.render
local lyaml = require("lyaml")
local json = require("moonlb.sandbox.json")
local tables = require("moonlb.sandbox.tables")

local render = {}

-- The object as this version shows it, without kind and apiVersion.
local function shown(resource, object)
  return resource.encode and resource.encode(object) or object
end

-- `{"metadata":...}`: an item of a list.
local function item_text(resource, record)
  local text = record.texts[resource.api_version]
  if not text then
    text = json.encode(shown(resource, record.object))
    record.texts[resource.api_version] = text
  end
  return text
end

local function with_head(resource, text)
  return resource.head .. text:sub(2)
end

local function partial(object, meta_version)
  return {
    kind = "PartialObjectMetadata", apiVersion = "meta.k8s.io/" .. meta_version, metadata = object.metadata,
  }
end

--- An object with kind and apiVersion, as the client's version shows it.
-- @treturn table  a new table, its values shared with the stored object
function render.versioned(resource, object)
  local result = { kind = resource.kind, apiVersion = resource.api_version }
  for name, value in pairs(shown(resource, object)) do
    result[name] = value
  end
  return result
end

-- What a row carries beside its cells.
local function row_object(resource, object, view)
  if view.include == "None" then
    return nil
  elseif view.include == "Object" then
    return render.versioned(resource, object)
  end
  return partial(object, view.meta_version)
end

local function table_of(resource, objects, view, metadata, headless)
  local rows = json.list()
  for i, object in ipairs(objects) do
    rows[i] = tables.row(resource.plural, object, row_object(resource, object, view), view.now)
  end
  return {
    kind = "Table", apiVersion = "meta.k8s.io/" .. view.meta_version, metadata = metadata,
    columnDefinitions = headless and json.null or tables.definitions(resource.plural), rows = rows,
  }
end

--- One object.
-- @tparam table resource
-- @tparam table record  of the store
-- @tparam table view  `{form=, meta_version=, include=, now=}`
-- @treturn string  JSON without a newline
function render.object(resource, record, view)
  if view.form == "table" then
    local metadata = { resourceVersion = record.object.metadata.resourceVersion }
    return json.encode(table_of(resource, { record.object }, view, metadata, false))
  elseif view.form == "partial" then
    return json.encode(partial(record.object, view.meta_version))
  end
  return with_head(resource, item_text(resource, record))
end

--- A list.
-- @tparam table records  sequence
-- @tparam table metadata  of the list
-- @treturn string  JSON without a newline
function render.list(resource, records, metadata, view)
  if view.form == "table" then
    local objects = {}
    for i, record in ipairs(records) do
      objects[i] = record.object
    end
    return json.encode(table_of(resource, objects, view, metadata, false))
  end
  local kind, version, items = resource.kind .. "List", resource.api_version, {}
  for i, record in ipairs(records) do
    items[i] = view.form == "partial" and json.encode({ metadata = record.object.metadata })
      or item_text(resource, record)
  end
  if view.form == "partial" then
    kind, version = "PartialObjectMetadataList", "meta.k8s.io/" .. view.meta_version
  end
  return ('{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[%s]}'):format(kind, version, json.encode(metadata),
    table.concat(items, ","))
end

--- One event of a watch, a line with its newline.
-- @tparam string kind  `ADDED`, `MODIFIED` or `DELETED`
-- @tparam table record
-- @tparam table view  `headless`: a Table whose columns were sent before
function render.event(resource, kind, record, view)
  local text
  if view.form == "table" then
    local metadata = { resourceVersion = record.object.metadata.resourceVersion }
    text = json.encode(table_of(resource, { record.object }, view, metadata, view.headless))
  else
    text = render.object(resource, record, view)
  end
  return '{"type":"' .. kind .. '","object":' .. text .. "}\n"
end

--- A bookmark: the object holds its resourceVersion only.
function render.bookmark(resource, revision, view)
  local object = {
    kind = resource.kind, apiVersion = resource.api_version,
    metadata = { resourceVersion = tostring(revision), creationTimestamp = json.null },
  }
  if view.form == "table" then
    local row = { cells = json.list(), object = partial(object, view.meta_version) }
    object = table_of(resource, {}, view, { resourceVersion = tostring(revision) }, true)
    object.rows = json.list({ row })
  elseif view.form == "partial" then
    object = partial(object, view.meta_version)
  end
  return json.encode({ type = "BOOKMARK", object = object }) .. "\n"
end

local function to_yaml(value)
  if value == json.null then
    return lyaml.null
  elseif type(value) ~= "table" then
    return value
  end
  local copy = {}
  for name, element in pairs(value) do
    copy[name] = to_yaml(element)
  end
  return copy
end

--- JSON text as YAML. An empty list is written as an empty map: lyaml cannot tell them apart.
function render.yaml(text)
  return (lyaml.dump({ to_yaml(assert(json.decode(text))) }):gsub("^%-%-%-\n", ""):gsub("%.%.%.\n$", ""))
end

return render
