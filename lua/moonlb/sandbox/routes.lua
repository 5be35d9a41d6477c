--- From a request to its answer: paths, verbs, forms. Knows nothing of sockets; `moonlb.sandbox.api` does.
-- @module moonlb.sandbox.routes
local body = require("moonlb.sandbox.body")
local discovery = require("moonlb.sandbox.discovery")
local json = require("moonlb.sandbox.json")
local openapi = require("moonlb.sandbox.openapi")
local reading = require("moonlb.sandbox.reading")
local removing = require("moonlb.sandbox.removing")
local render = require("moonlb.sandbox.render")
local request = require("moonlb.sandbox.request")
local reviews = require("moonlb.sandbox.reviews")
local status = require("moonlb.sandbox.status")
local watching = require("moonlb.sandbox.watching")
local writing = require("moonlb.sandbox.writing")

local routes = {}

--- The version that `/version` reports. kubectl dispatchers pick their client by it.
routes.version = "v1.32.0"

local function answer(code, text, content_type)
  return {
    code = code, body = text,
    headers = { ["Content-Type"] = content_type or "application/json", ["Cache-Control"] = "no-cache, private" },
  }
end

local function document(value, code)
  return answer(code or 200, json.encode(value) .. "\n")
end

--- A Status as an answer.
function routes.refusal(refused)
  local response = document(refused, refused.code)
  local seconds = type(refused.details) == "table" and refused.details.retryAfterSeconds
  response.headers["Retry-After"] = seconds and ("%d"):format(seconds) or nil
  return response
end

-- ---- what is not a resource ----

local function version_document()
  local major, minor = routes.version:match("^v(%d+)%.(%d+)")
  return {
    major = major, minor = minor, gitVersion = routes.version, gitCommit = "", gitTreeState = "clean",
    buildDate = "1970-01-01T00:00:00Z", goVersion = "", compiler = "moonlb sandbox", platform = "linux/amd64",
  }
end

local function openapi_v2(ctx)
  if (ctx.headers.accept or ""):find("com.github.proto-openapi", 1, true) then
    return answer(200, openapi.v2(), openapi.v2_type)
  end
  return routes.refusal(status.no_such_path())
end

local function discovered(ctx, is_core)
  if (ctx.headers.accept or ""):find("g=apidiscovery.k8s.io;v=v2;", 1, true) then
    return answer(200, json.encode(discovery.aggregated(is_core)) .. "\n", discovery.aggregated_type)
  end
  return document(is_core and discovery.api_versions() or discovery.group_list())
end

local fixed = {
  ["/version"] = function() return document(version_document()) end,
  ["/healthz"] = function() return answer(200, "ok", "text/plain; charset=utf-8") end,
  ["/api"] = function(ctx) return discovered(ctx, true) end,
  ["/apis"] = function(ctx) return discovered(ctx, false) end,
  ["/openapi/v2"] = openapi_v2,
  ["/openapi/v3"] = function() return document(openapi.index()) end,
}
fixed["/readyz"], fixed["/livez"] = fixed["/healthz"], fixed["/healthz"]

-- `/api/v1`, `/apis/GROUP`, `/apis/GROUP/VERSION`, `/openapi/v3/...`; nil when it is none of them.
local function known_document(path)
  local root = path:match("^/openapi/v3/(.+)$")
  local value = root and openapi.document(root)
  if not value then
    local version = path:match("^/api/([^/]+)$") or path:match("^/apis/([^/]+/[^/]+)$")
    value = version and discovery.resource_list(version)
  end
  if not value then
    local group = path:match("^/apis/([^/]+)$")
    value = group and discovery.group(group)
  end
  return value and document(value)
end

-- ---- resources ----

local verbs = {
  collection = { GET = "list", POST = "create", DELETE = "deletecollection" },
  object = { GET = "get", PUT = "update", PATCH = "patch", DELETE = "delete" },
  status = { GET = "get", PUT = "update", PATCH = "patch" },
  token = { POST = "create" },
  review = { POST = "create" },
}

--- The Kubernetes verb of a request, nil when the method does not fit the path.
function routes.verb(method, target, query)
  local place = target.subresource or (target.resource.review and "review")
  local verb = verbs[place or (target.name and "object") or "collection"][method]
  if verb == "list" and (target.is_watch or request.is_true(query.watch)) then
    return "watch"
  elseif verb == "get" and target.is_watch then
    return "watch"
  end
  return verb
end

local function view_of(api, ctx)
  local view = request.form(ctx.headers.accept)
  if not view then
    return nil, status.failure(406, "NotAcceptable", "only the following media types are accepted: application/json, "
      .. "application/yaml", {})
  end
  view.include, view.now = ctx.query.includeObject or "Metadata", api.now()
  return view
end

local function shown(text, view, code)
  if view.form == "yaml" then
    return answer(code, render.yaml(text), "application/yaml")
  end
  return answer(code, text .. "\n")
end

local function show_record(ctx, view, record, code)
  return shown(render.object(ctx.resource, record, view), view, code)
end

local run = {}

function run.get(api, ctx, view)
  local record, refused = reading.get(api, ctx)
  if not record then
    return nil, refused
  end
  return show_record(ctx, view, record, 200)
end

function run.list(api, ctx, view)
  local records, metadata = reading.list(api, ctx)
  if not records then
    return nil, metadata
  end
  return shown(render.list(ctx.resource, records, metadata, view), view, 200)
end

function run.watch(api, ctx, view)
  if ctx.name then -- the old path /api/v1/watch/.../NAME
    ctx.query.fieldSelector = "metadata.name=" .. ctx.name
  end
  local plan, refused = watching.plan(ctx)
  if not plan then
    return nil, refused
  end
  return { stream = function(response) watching.start(api, ctx, view, plan, response) end }
end

local function run_review(api, ctx)
  local object, refused
  if ctx.subresource == "token" then
    object, refused = reviews.token(api, ctx)
  else
    object, refused = reviews.create(ctx)
  end
  if not object then
    return nil, refused
  end
  return document(object, 201)
end

function run.create(api, ctx, view)
  if ctx.resource.review or ctx.subresource == "token" then
    return run_review(api, ctx)
  end
  local object, refused = body.read(ctx, ctx.resource)
  local record
  if object then
    record, refused = writing.create(api, ctx, object)
  end
  if not record then
    return nil, refused
  end
  return show_record(ctx, view, record, 201)
end

function run.update(api, ctx, view)
  local record, refused = writing.update(api, ctx)
  if not record then
    return nil, refused
  end
  return show_record(ctx, view, record, 200)
end

function run.patch(api, ctx, view)
  local record, more = writing.patch(api, ctx)
  if not record then
    return nil, more
  end
  return show_record(ctx, view, record, more == true and 201 or 200)
end

function run.delete(api, ctx, view)
  local result, refused = removing.delete(api, ctx)
  if not result then
    return nil, refused
  elseif result.kind == "Status" then
    return document(result)
  end
  return show_record(ctx, view, result, 200)
end

function run.deletecollection(api, ctx, view)
  local records, metadata = reading.list(api, ctx)
  if not records then
    return nil, metadata
  end
  local deleted, refused = removing.delete_collection(api, ctx, records)
  if not deleted then
    return nil, refused
  end
  return shown(render.list(ctx.resource, deleted, { resourceVersion = tostring(api.store.revision) }, view), view, 200)
end

local function check_verb(ctx)
  local resource = ctx.resource
  local has = ctx.subresource ~= nil
  for _, verb in ipairs(resource.verbs) do
    has = has or verb == ctx.verb
  end
  local is_placed = ctx.namespace or not resource.namespaced
  if not ctx.verb or not has or not (is_placed or ctx.verb == "list" or ctx.verb == "watch") then
    return status.method_not_allowed()
  end
end

local function answer_resource(api, ctx)
  local refused = check_verb(ctx)
  if refused then
    return nil, refused
  end
  local view
  view, refused = view_of(api, ctx)
  if not view then
    return nil, refused
  end
  ctx.dry_run, refused = writing.is_dry_run(ctx.query)
  if ctx.dry_run == nil then
    return nil, refused
  end
  return run[ctx.verb](api, ctx, view)
end

local function add_warnings(response, warnings)
  local texts = {}
  for i, text in ipairs(warnings) do
    texts[i] = "299 - " .. json.encode(text)
  end
  if #texts > 0 and response.headers then
    response.headers.Warning = table.concat(texts, ", ")
  end
  return response
end

--- What a request asks for: to be answered, or to be matched against faults first.
-- @tparam table incoming  of `moonlb.core.httpd`: method, path, query, headers, body
-- @treturn table  context: `{method=, path=, query=table, headers=, body=, content_type=, warnings={}, verb=|nil,
--   resource=|nil, namespace=, name=, subresource=, refused=Status|nil}`
function routes.context(incoming)
  local ctx = {
    method = incoming.method, path = incoming.path, query = request.query(incoming.query), headers = incoming.headers,
    body = incoming.body, content_type = incoming.headers["content-type"], warnings = {},
  }
  local target, refused = request.target(incoming.path)
  if target then
    for name, value in pairs(target) do
      ctx[name] = value
    end
    ctx.verb = routes.verb(ctx.method, target, ctx.query)
  end
  ctx.refused = refused
  return ctx
end

--- Answer a request.
-- @tparam table api  `{store=, allocator=, now=, watches=}`
-- @tparam table ctx  of `routes.context`
-- @treturn table  `{code=, headers=, body=}`, or `{stream=function(response)}` for a watch
function routes.answer(api, ctx)
  local path = #ctx.path > 1 and ctx.path:gsub("/$", "") or ctx.path
  local simple = fixed[path] or fixed[path:match("^(/%a+z)/") or ""]
  if simple then
    return simple(ctx)
  elseif ctx.resource then
    local response, refused = answer_resource(api, ctx)
    return add_warnings(response or routes.refusal(refused), ctx.warnings)
  end
  local known = known_document(path)
  if known then
    return known
  elseif ctx.refused then
    return routes.refusal(ctx.refused)
  end
  return answer(404, "404 page not found\n", "text/plain; charset=utf-8")
end

return routes
