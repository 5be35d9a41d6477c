--- OpenAPI, as much of it as kubectl needs: version 3 for newer ones (which kinds take `fieldValidation`; its schemas
-- are left open, since the server itself refuses what is wrong, so `kubectl explain` has nothing to show), and
-- version 2 in its protobuf form for older ones. kubectl 1.20 reads no other form, checks manifests by it, and
-- calculates its patches from it: so that one has the fields of every kind.
-- @module moonlb.sandbox.openapi
local json = require("moonlb.sandbox.json")
local resources = require("moonlb.sandbox.resources")

local openapi = {}

-- Clients ask for `...v2@v1.0+protobuf`; but "@" may not stand in a media type (RFC 2045), and Go's parser refuses it.
openapi.v2_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

local function path_of(resource)
  local root = resource.group == "" and "/api/" or "/apis/"
  return root .. resource.api_version .. "/" .. resource.plural
end

local function root_of(api_version)
  return api_version:find("/", 1, true) and "apis/" .. api_version or "api/" .. api_version
end

--- `/openapi/v3`: where each group version's document is.
function openapi.index()
  local paths = {}
  for _, resource in ipairs(resources.all()) do
    local root = root_of(resource.api_version)
    paths[root] = { serverRelativeURL = "/openapi/v3/" .. root .. "?hash=1" }
  end
  return { paths = paths }
end

--- `/openapi/v3/api/v1` and the like: one PATCH for each kind.
-- @tparam string root  `"api/v1"`, `"apis/GROUP/VERSION"`
-- @treturn table|nil
function openapi.document(root)
  local paths = {}
  for _, resource in ipairs(resources.all()) do
    if root_of(resource.api_version) == root then
      local parameter = { name = "fieldValidation", ["in"] = "query", schema = { type = "string" } }
      paths[path_of(resource)] = {
        patch = {
          parameters = json.list({ parameter }), responses = {},
          ["x-kubernetes-group-version-kind"] = {
            group = resource.group, version = resource.version, kind = resource.kind,
          },
        },
      }
    end
  end
  if next(paths) == nil then
    return nil
  end
  return {
    openapi = "3.0.0", info = { title = "moonlb sandbox", version = "1" }, components = { schemas = {} }, paths = paths,
  }
end

-- ---- version 2 in protobuf: gnostic's OpenAPIv2.proto ----

-- A length-delimited field.
local function field(number, bytes)
  local out, value = {}, #bytes
  for _, v in ipairs({ number << 3 | 2, value }) do
    while v > 127 do
      out[#out + 1] = string.char(v & 127 | 128)
      v = v >> 7
    end
    out[#out + 1] = string.char(v)
  end
  return table.concat(out) .. bytes
end

-- NamedAny { 1 name, 2 Any { 2 yaml } }
local function extension(name, yaml)
  return field(1, name) .. field(2, field(2, yaml))
end

local kind_extension = "x-kubernetes-group-version-kind"

local primitives = {
  string = "string", bytes = "string", time = "string", micro = "string", int = "integer", number = "number",
  bool = "boolean",
}

local schema_of

-- Schema { 25 Properties { 1 NamedSchema { 1 name, 2 value } } }; list fields say how they are merged.
local function properties(object_type)
  local list = {}
  for i, name in ipairs(object_type.order) do
    local property = object_type.fields[name]
    local merge = ""
    if property.merge then
      merge = field(31, extension("x-kubernetes-patch-strategy", "merge\n"))
      if property.merge[1] ~= "." then
        merge = merge .. field(31, extension("x-kubernetes-patch-merge-key", property.merge[1] .. "\n"))
      end
    end
    list[i] = field(1, field(1, name) .. field(2, schema_of(property.type) .. merge))
  end
  return field(25, table.concat(list))
end

-- Schema { 1 _ref, 21 additionalProperties { 1 schema }, 22 type { 1 value }, 23 items { 1 schema } }. One without a
-- type is anything: for fields that are a number or a string, and for types that have more fields than `types` lists.
function schema_of(value_type)
  if value_type.form == "object" then
    return value_type.open and "" or field(1, "#/definitions/" .. value_type.name)
  elseif value_type.form == "list" then
    return field(22, field(1, "array")) .. field(23, field(1, schema_of(value_type.of)))
  elseif value_type.form == "map" then
    return field(21, field(1, schema_of(value_type.of))) .. field(22, field(1, "object"))
  end
  local primitive = primitives[value_type.form]
  return primitive and field(22, field(1, primitive)) or ""
end

-- NamedSchema { 1 name, 2 Schema { 4 description, 31 extension } } of an object type. The top of an object has kind and
-- apiVersion too.
local function definition(name, object_type, resource)
  local body = field(4, name)
  if not object_type.open then
    body = body .. field(22, field(1, "object")) .. properties(object_type)
  end
  if resource then
    local text = field(22, field(1, "string"))
    local yaml = ("- group: %q\n  kind: %s\n  version: %s\n"):format(resource.group, resource.kind, resource.version)
    body = body .. field(25, field(1, field(1, "kind") .. field(2, text)) .. field(1, field(1, "apiVersion")
      .. field(2, text))) .. field(31, extension(kind_extension, yaml))
  end
  return field(1, field(1, name) .. field(2, body))
end

-- The definitions of all kinds and of the types below them, each once.
local function definitions()
  local list, seen = {}, {}
  local function visit(value_type)
    if value_type.of then
      visit(value_type.of)
    elseif value_type.form == "object" and not value_type.open and not seen[value_type.name] then
      seen[value_type.name] = true
      list[#list + 1] = definition(value_type.name, value_type)
      for _, property in pairs(value_type.fields) do
        visit(property.type)
      end
    end
  end
  for _, resource in ipairs(resources.all()) do
    local name = (resource.api_version:gsub("/", ".")) .. "." .. resource.kind
    list[#list + 1] = definition(name, resource.type, resource)
    for _, property in pairs(resource.type.fields) do
      visit(property.type)
    end
  end
  return table.concat(list)
end

-- NamedPathItem { 1 name, 2 PathItem { 8 patch: Operation { 8 parameter, 13 extension } } }: that a kind's PATCH takes
-- `dryRun` is how kubectl knows that --dry-run=server and diff are safe.
-- ParametersItem { 1 Parameter { 2 NonBodyParameter { 3 QueryParameterSubSchema { 2 in, 4 name, 6 type } } } }
local function path_item(resource)
  local parameter = field(2, "query") .. field(4, "dryRun") .. field(6, "string")
  local yaml = ("group: %q\nkind: %s\nversion: %s\n"):format(resource.group, resource.kind, resource.version)
  local operation = field(8, field(1, field(2, field(3, parameter)))) .. field(13, extension(kind_extension, yaml))
  return field(2, field(1, path_of(resource)) .. field(2, field(8, operation)))
end

--- `/openapi/v2`, Content-Type `openapi.v2_type`: Document { 1 swagger, 2 Info { 1 title, 2 version },
-- 8 Paths { 2 path }, 9 Definitions { 1 entry } }.
-- @treturn string  protobuf
function openapi.v2()
  local paths = {}
  for i, resource in ipairs(resources.all()) do
    paths[i] = path_item(resource)
  end
  return field(1, "2.0") .. field(2, field(1, "moonlb sandbox") .. field(2, "1"))
    .. field(8, table.concat(paths)) .. field(9, definitions())
end

return openapi
