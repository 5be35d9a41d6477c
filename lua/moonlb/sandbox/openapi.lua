--- OpenAPI, as much of it as kubectl needs: version 3 for newer ones (which kinds take `fieldValidation`), version 2 in
-- its protobuf form for older ones (1.20 reads no other). Schemas are left open: what is wrong the server refuses
-- itself, so `kubectl explain` has nothing to show.
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
local function kind_extension(yaml)
  return field(1, "x-kubernetes-group-version-kind") .. field(2, field(2, yaml))
end

-- NamedSchema { 1 name, 2 Schema { 4 description, 31 extension } }. Without a type kubectl checks nothing below it.
local function definition(resource)
  local yaml = ("- group: %q\n  kind: %s\n  version: %s\n"):format(resource.group, resource.kind, resource.version)
  local name = (resource.api_version:gsub("/", ".")) .. "." .. resource.kind
  return field(1, field(1, name) .. field(2, field(4, resource.kind) .. field(31, kind_extension(yaml))))
end

-- NamedPathItem { 1 name, 2 PathItem { 8 patch: Operation { 8 parameter, 13 extension } } }: that a kind's PATCH takes
-- `dryRun` is how kubectl knows that --dry-run=server and diff are safe.
-- ParametersItem { 1 Parameter { 2 NonBodyParameter { 3 QueryParameterSubSchema { 2 in, 4 name, 6 type } } } }
local function path_item(resource)
  local parameter = field(2, "query") .. field(4, "dryRun") .. field(6, "string")
  local yaml = ("group: %q\nkind: %s\nversion: %s\n"):format(resource.group, resource.kind, resource.version)
  local operation = field(8, field(1, field(2, field(3, parameter)))) .. field(13, kind_extension(yaml))
  return field(2, field(1, path_of(resource)) .. field(2, field(8, operation)))
end

--- `/openapi/v2`, Content-Type `openapi.v2_type`: Document { 1 swagger, 2 Info { 1 title, 2 version },
-- 8 Paths { 2 path }, 9 Definitions { 1 entry } }.
-- @treturn string  protobuf
function openapi.v2()
  local definitions, paths = {}, {}
  for i, resource in ipairs(resources.all()) do
    definitions[i], paths[i] = definition(resource), path_item(resource)
  end
  return field(1, "2.0") .. field(2, field(1, "moonlb sandbox") .. field(2, "1"))
    .. field(8, table.concat(paths)) .. field(9, table.concat(definitions))
end

return openapi
