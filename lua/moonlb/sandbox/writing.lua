--- Create, update and patch: what is taken from a client, what the server sets, what is refused.
-- Each function gives a record (of the store, or one that is not stored for a dry run), or nil and a Status.
-- @module moonlb.sandbox.writing
local uv = require("luv")
local body = require("moonlb.sandbox.body")
local clock = require("moonlb.sandbox.clock")
local json = require("moonlb.sandbox.json")
local patch = require("moonlb.sandbox.patch")
local reading = require("moonlb.sandbox.reading")
local removing = require("moonlb.sandbox.removing")
local render = require("moonlb.sandbox.render")
local service_allocation = require("moonlb.sandbox.service_allocation")
local status = require("moonlb.sandbox.status")
local strategic = require("moonlb.sandbox.strategic")
local validation = require("moonlb.sandbox.validation")

local writing = {}

--- A random UUID (RFC 9562 version 4).
function writing.uuid()
  local b = { uv.random(16):byte(1, 16) }
  b[7], b[9] = b[7] & 15 | 64, b[9] & 63 | 128
  return (("%02x"):rep(4) .. ("-" .. ("%02x"):rep(2)):rep(3) .. "-" .. ("%02x"):rep(6)):format(table.unpack(b))
end

local suffix_alphabet = "bcdfghjklmnpqrstvwxz2456789"

local function suffix()
  local text = {}
  for i, b in ipairs({ uv.random(5):byte(1, 5) }) do
    local at = b % #suffix_alphabet + 1
    text[i] = suffix_alphabet:sub(at, at)
  end
  return table.concat(text)
end

--- Is this write only to be tried? Refuses what is neither unset nor `All`.
-- @treturn boolean  or nil, Status
function writing.is_dry_run(query)
  local value = query.dryRun
  if value == nil or value == "" then
    return false
  elseif value == "All" then
    return true
  end
  return nil, status.invalid({ group = "meta.k8s.io", plural = "", kind = "WriteOptions" }, "",
    { status.unsupported("dryRun", json.list({ value }), { "All" }) })
end

-- A record that looks like a stored one.
local function unstored(object, version)
  object.metadata.resourceVersion = version
  return { object = object, texts = {} }
end

-- ---- what all writes share ----

local function validate(resource, object, old)
  local causes = validation.metadata(resource, object.metadata)
  local more = resource.validate and resource.validate(object, old) or {}
  table.move(more, 1, #more, #causes + 1, causes)
  more = resource.validate_status and resource.validate_status(object) or {}
  table.move(more, 1, #more, #causes + 1, causes)
  if #causes > 0 then
    return nil, status.invalid(resource, object.metadata.name, causes)
  end
  return true
end

-- Cluster addresses and node ports, for Services only.
local function assign(api, resource, object, old)
  if resource.plural ~= "services" then
    return true
  end
  local ok, refused = service_allocation.assign(api.allocator, object.spec, old and old.spec)
  if ok then
    return true
  elseif refused.kind == "Status" then
    return nil, refused
  end
  return nil, status.invalid(resource, object.metadata.name, refused)
end

local function finish(api, resource, object, old)
  if resource.default then
    resource.default(object)
  end
  local ok, refused = validate(resource, object, old)
  if not ok then
    return nil, refused
  end
  return assign(api, resource, object, old)
end

-- ---- create ----

local other_namespace = "the namespace of the provided object does not match the namespace sent on the request"

-- The namespace of the body must be that of the path, and must exist and stay.
local function check_namespace(api, ctx, metadata)
  if not ctx.resource.namespaced then
    metadata.namespace = nil
    return true
  end
  if (metadata.namespace or "") ~= "" and metadata.namespace ~= ctx.namespace then
    return nil, status.bad_request(other_namespace)
  end
  metadata.namespace = ctx.namespace
  local record = api.store:get("namespaces", ctx.namespace)
  if not record then
    return nil, status.not_found({ plural = "namespaces", group = "" }, ctx.namespace)
  elseif record.object.metadata.deletionTimestamp then
    local refused = status.forbidden(ctx.resource, metadata.name or "", ("unable to create new content in namespace %s "
      .. "because it is being terminated"):format(ctx.namespace))
    refused.details.causes = json.list({ {
      reason = "NamespaceTerminating", message = ("namespace %s is being terminated"):format(ctx.namespace),
      field = "metadata.namespace",
    } })
    return nil, refused
  end
  return true
end

local function choose_name(api, ctx, metadata)
  if (metadata.name or "") ~= "" then
    return true
  elseif (metadata.generateName or "") == "" then
    return nil, status.invalid(ctx.resource, "",
      { status.required("metadata.name", "name or generateName is required") })
  end
  repeat
    metadata.name = metadata.generateName .. suffix()
  until not api.store:get(ctx.resource.storage, reading.key(ctx.resource, metadata.namespace, metadata.name))
  return true
end

local function new_metadata(api, ctx, object)
  local metadata = object.metadata
  if (metadata.resourceVersion or "") ~= "" then
    return nil, status.failure(500, nil, "resourceVersion should not be set on objects to be created")
  end
  local ok, refused = check_namespace(api, ctx, metadata)
  if not ok then
    return nil, refused
  end
  ok, refused = choose_name(api, ctx, metadata)
  if not ok then
    return nil, refused
  end
  for _, name in ipairs({ "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields" }) do
    metadata[name] = nil
  end
  metadata.uid, metadata.creationTimestamp = writing.uuid(), clock.text(api.now())
  metadata.generation = ctx.resource.generation and 1 or nil
  return true
end

--- Create an object from what `body` read.
function writing.create(api, ctx, object)
  local resource = ctx.resource
  if resource.status and not resource.takes_status then
    object.status = nil
  end
  local ok, refused = new_metadata(api, ctx, object)
  if not ok then
    return nil, refused
  end
  local key = reading.key(resource, ctx.namespace, object.metadata.name)
  if api.store:get(resource.storage, key) then
    return nil, status.already_exists(resource, object.metadata.name)
  end
  ok, refused = finish(api, resource, object, nil)
  if not ok then
    return nil, refused
  end
  if ctx.dry_run then
    return unstored(object, nil)
  end
  return api.store:create(resource.storage, key, object)
end

-- ---- update ----

-- Names and what the server set stay as they were; a stale version or another uid is refused.
local function check_identity(ctx, metadata, old)
  local resource, name = ctx.resource, old.metadata.name
  if (metadata.name or name) ~= name then
    return nil, ctx.is_patch and status.invalid(resource, name,
      { status.invalid_value("metadata.name", metadata.name, "field is immutable") })
      or status.bad_request(("the name of the object (%s) does not match the name on the URL (%s)"):format(
        metadata.name, name))
  elseif (metadata.namespace or "") ~= "" and metadata.namespace ~= old.metadata.namespace then
    return nil, status.bad_request(other_namespace)
  elseif (metadata.resourceVersion or "") ~= "" and metadata.resourceVersion ~= old.metadata.resourceVersion then
    return nil, status.conflict(resource, name)
  elseif (metadata.uid or "") ~= "" and metadata.uid ~= old.metadata.uid then
    if ctx.is_patch then
      return nil, status.invalid(resource, name,
        { status.invalid_value("metadata.uid", metadata.uid, "field is immutable") })
    end
    return nil, status.conflict(resource, name, ("Precondition failed: UID in precondition: %s, UID in object meta: %s")
      :format(metadata.uid, old.metadata.uid))
  end
  return true
end

local kept = {
  "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
  "generateName", "resourceVersion",
}

local function merge_metadata(metadata, old)
  for _, name in ipairs(kept) do
    metadata[name] = old[name]
  end
  metadata.selfLink, metadata.managedFields = nil, nil
  for _, name in ipairs({ "labels", "annotations", "finalizers", "ownerReferences" }) do
    if metadata[name] and next(metadata[name]) == nil then
      metadata[name] = nil
    end
  end
end

-- The status subresource takes status and metadata, the main path everything but status.
local function keep_half(ctx, object, old)
  if ctx.subresource == "status" then
    local half = json.copy(old)
    half.metadata, half.status = object.metadata, object.status
    return half
  elseif ctx.resource.status then
    object.status = json.copy(old.status)
  end
  return object
end

local function check_finalizers(ctx, metadata, old)
  if not old.deletionTimestamp then
    return true
  end
  local had = {}
  for _, name in ipairs(old.finalizers or {}) do
    had[name] = true
  end
  for _, name in ipairs(metadata.finalizers or {}) do
    if not had[name] then
      local why = "no new finalizers can be added if the object is being deleted, found new finalizers []string{%q}"
      return nil, status.invalid(ctx.resource, metadata.name,
        { status.forbidden_field("metadata.finalizers", why:format(name)) })
    end
  end
  return true
end

-- Everything but metadata and status: what `generation` counts.
local function is_spec_same(object, old)
  local a, b = {}, {}
  for name, value in pairs(object) do a[name] = value end
  for name, value in pairs(old) do b[name] = value end
  a.metadata, a.status, b.metadata, b.status = nil, nil, nil, nil
  return json.equal(a, b)
end

--- Put a new state in the place of a stored one.
-- @tparam table ctx  `is_patch` words some refusals otherwise; `subresource`
-- @tparam table record  what is stored
-- @tparam table object  the whole new state; changed
function writing.replace(api, ctx, record, object)
  local resource, old = ctx.resource, record.object
  local ok, refused = check_identity(ctx, object.metadata, old)
  if not ok then
    return nil, refused
  end
  merge_metadata(object.metadata, old.metadata)
  object = keep_half(ctx, object, old)
  ok, refused = check_finalizers(ctx, object.metadata, old.metadata)
  if not ok then
    return nil, refused
  end
  if resource.carry_over then
    resource.carry_over(object, old)
  end
  ok, refused = finish(api, resource, object, old)
  if not ok then
    return nil, refused
  end
  if resource.generation and not is_spec_same(object, old) then
    object.metadata.generation = (old.metadata.generation or 0) + 1
  end
  if ctx.dry_run then
    return unstored(object, old.metadata.resourceVersion)
  elseif old.metadata.deletionTimestamp and not object.metadata.finalizers and resource.plural ~= "namespaces" then
    return removing.remove(api, resource, record, object)
  end
  return api.store:replace(resource.storage, record.key, object)
end

--- PUT.
function writing.update(api, ctx)
  local record = api.store:get(ctx.resource.storage, reading.key(ctx.resource, ctx.namespace, ctx.name))
  if not record then
    return nil, status.not_found(ctx.resource, ctx.name)
  end
  local object, refused = body.read(ctx, ctx.resource)
  if not object then
    return nil, refused
  elseif (object.metadata.name or "") == "" then
    return nil, status.bad_request(("the name of the object (%s) does not match the name on the URL (%s)"):format("",
      ctx.name))
  end
  return writing.replace(api, ctx, record, object)
end

-- ---- patch ----

local function bad_patch()
  return status.failure(422, "Invalid", "the server rejected our request due to an error in our request", {})
end

local function read_change(ctx)
  local change, message = json.decode(ctx.body or "")
  if change == nil then
    return nil, status.bad_request("error decoding patch: " .. message)
  elseif not json.is_object(change) then
    return nil, bad_patch()
  end
  return change
end

local appliers = {}

appliers["application/merge-patch+json"] = function(ctx, target)
  local change, refused = read_change(ctx)
  if not change then
    return nil, refused
  end
  return patch.merge(target, change)
end

appliers["application/strategic-merge-patch+json"] = function(ctx, target)
  local change, refused = read_change(ctx)
  if not change then
    return nil, refused
  end
  local result, message = strategic.merge(target, change, ctx.resource.type)
  if not result then
    return nil, status.bad_request(message)
  end
  return result
end

appliers["application/json-patch+json"] = function(ctx, target)
  local list, message = json.decode(ctx.body or "")
  if not json.is_list(list) then
    return nil, status.bad_request("error decoding patch: " .. (message or "not a list of operations"))
  elseif #list > 10000 then
    return nil, status.failure(413, "RequestEntityTooLarge", "the allowed maximum operations in a JSON patch is 10000")
  end
  local result = patch.json_patch(target, list)
  if not json.is_object(result) then
    return nil, bad_patch()
  end
  return result
end

appliers["application/apply-patch+yaml"] = function(ctx, target)
  if (ctx.query.fieldManager or "") == "" then
    return nil, status.invalid({ group = "meta.k8s.io", plural = "", kind = "PatchOptions" }, "",
      { status.required("fieldManager", "is required for apply patch") })
  end
  local change, message = body.yaml(ctx.body or "", ctx.resource.type)
  if not json.is_object(change) then
    return nil, status.bad_request("error decoding YAML: " .. (message or "not an object"))
  end
  local result
  result, message = strategic.apply(target, change, ctx.resource.type)
  if not result then
    return nil, status.bad_request(message)
  end
  return result
end

-- The patched document as a typed object.
local function typed(ctx, document)
  local name = ctx.name
  local object, refused, strict = body.typed(document, ctx.resource, {
    mode = ctx.query.fieldValidation, warnings = ctx.warnings,
  })
  if strict and not ctx.is_apply then
    return nil, status.invalid(ctx.resource, name, { status.invalid_value("patch", ctx.body or "", strict) })
  end
  return object, refused
end

--- PATCH. Apply creates what is not there.
-- @treturn table  record, or nil, Status
-- @treturn boolean  whether it was created
function writing.patch(api, ctx)
  local resource, media = ctx.resource, body.media_type(ctx.content_type)
  local apply = appliers[media]
  if not apply then
    return nil, status.unsupported_media_type("415: Unsupported Media Type")
  end
  ctx.is_patch, ctx.is_apply = true, media == "application/apply-patch+yaml"
  local record = api.store:get(resource.storage, reading.key(resource, ctx.namespace, ctx.name))
  if not record and not ctx.is_apply then
    return nil, status.not_found(resource, ctx.name)
  end
  local target = record and render.versioned(resource, record.object)
    or { kind = resource.kind, apiVersion = resource.api_version, metadata = { name = ctx.name } }
  local document, refused = apply(ctx, target)
  if not document then
    return nil, refused
  end
  local object
  object, refused = typed(ctx, document)
  if not object then
    return nil, refused
  elseif record then
    return writing.replace(api, ctx, record, object)
  end
  local created
  created, refused = writing.create(api, ctx, object)
  return created, created and true or refused
end

return writing
