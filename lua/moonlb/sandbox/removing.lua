--- DELETE: finalizers, preconditions, collections, and what goes with a Namespace.
-- Foreground and orphan propagation are taken as background: there is no garbage collector here.
-- @module moonlb.sandbox.removing
local clock = require("moonlb.sandbox.clock")
local json = require("moonlb.sandbox.json")
local protobuf = require("moonlb.sandbox.protobuf")
local resources = require("moonlb.sandbox.resources")
local schema = require("moonlb.sandbox.schema")
local status = require("moonlb.sandbox.status")
local types = require("moonlb.sandbox.types")

local removing = {}

local policies = { Background = true, Foreground = true, Orphan = true }
local protected = { default = true, ["kube-system"] = true, ["kube-public"] = true }

-- The storage of every namespaced kind, once.
local function namespaced_storages()
  local list, seen = {}, {}
  for _, resource in ipairs(resources.all()) do
    if resource.namespaced and not resource.review and not seen[resource.storage] then
      seen[resource.storage] = true
      list[#list + 1] = resource
    end
  end
  return list
end

local function is_empty(api, namespace)
  for _, resource in ipairs(namespaced_storages()) do
    if api.store:each(resource.storage, { prefix = namespace .. "/" })() then
      return false
    end
  end
  return true
end

--- Take an object out of the store; a Namespace that is being deleted goes with its last object.
-- @tparam[opt] table object  its last state
-- @treturn table  the last record
function removing.remove(api, resource, record, object)
  local last = api.store:remove(resource.storage, record.key, object)
  local namespace = resource.namespaced and api.store:get("namespaces", record.object.metadata.namespace)
  if namespace and namespace.object.metadata.deletionTimestamp and is_empty(api, namespace.key) then
    api.store:remove("namespaces", namespace.key)
  end
  return last
end

-- Mark as being deleted; marking twice changes nothing.
local function mark(api, resource, record)
  if record.object.metadata.deletionTimestamp then
    return record
  end
  local object = json.copy(record.object)
  object.metadata.deletionTimestamp = clock.text(api.now())
  if resource.plural == "namespaces" then
    object.status.phase = "Terminating"
  else
    object.metadata.deletionGracePeriodSeconds = 0
  end
  return api.store:replace(resource.storage, record.key, object)
end

local function delete_one(api, resource, record)
  if #(record.object.metadata.finalizers or {}) > 0 then
    return mark(api, resource, record), false
  end
  return removing.remove(api, resource, record), true
end

-- A Namespace takes everything in it along; what has finalizers keeps it Terminating.
local function delete_namespace(api, resource, record)
  local marked = mark(api, resource, record)
  for _, kind in ipairs(namespaced_storages()) do
    local doomed = {}
    for inside in api.store:each(kind.storage, { prefix = record.key .. "/" }) do
      doomed[#doomed + 1] = inside
    end
    for _, inside in ipairs(doomed) do
      delete_one(api, kind, inside)
    end
  end
  if api.store:get("namespaces", record.key) and is_empty(api, record.key) then
    api.store:remove("namespaces", record.key)
  end
  return marked
end

--- The DeleteOptions of a body, which may be empty.
-- @treturn table  or nil, Status
function removing.options(ctx)
  local text = ctx.body or ""
  if text == "" then
    return {}
  end
  local value, message
  if (ctx.content_type or ""):find("protobuf", 1, true) then
    value, message = protobuf.decode(text, "DeleteOptions")
  else
    value, message = json.decode(text)
  end
  local options
  if value then
    options, message = schema.read(types.get("DeleteOptions"), value)
  end
  if not options then
    return nil, status.bad_request("cannot read the DeleteOptions: " .. message)
  elseif options.propagationPolicy and not policies[options.propagationPolicy] then
    return nil, status.invalid({ group = "meta.k8s.io", plural = "", kind = "DeleteOptions" }, "",
      { status.unsupported("propagationPolicy", options.propagationPolicy, { "Foreground", "Background", "Orphan" }) })
  end
  return options
end

local function check_preconditions(resource, record, options)
  local wanted, metadata = options.preconditions or {}, record.object.metadata
  local why
  if wanted.uid and wanted.uid ~= metadata.uid then
    why = ("Precondition failed: UID in precondition: %s, UID in object meta: %s"):format(wanted.uid, metadata.uid)
  elseif wanted.resourceVersion and wanted.resourceVersion ~= metadata.resourceVersion then
    why = ("Precondition failed: ResourceVersion in precondition: %s, ResourceVersion in object meta: %s"):format(
      wanted.resourceVersion, metadata.resourceVersion)
  end
  return why and status.conflict(resource, metadata.name, why)
end

local function success(resource, record)
  local metadata = record.object.metadata
  return {
    kind = "Status", apiVersion = "v1", metadata = {}, status = "Success",
    details = {
      name = metadata.name, kind = resource.plural, uid = metadata.uid,
      group = resource.group ~= "" and resource.group or nil,
    },
  }
end

local function is_dry(ctx, options)
  return ctx.dry_run or (options.dryRun or {})[1] == "All"
end

--- DELETE of one object.
-- @treturn table  a Status (gone) or the record of an object that waits for its finalizers; or nil, Status
function removing.delete(api, ctx)
  local resource = ctx.resource
  local key = resource.namespaced and ctx.namespace .. "/" .. ctx.name or ctx.name
  local record = api.store:get(resource.storage, key)
  if not record then
    return nil, status.not_found(resource, ctx.name)
  end
  local options, refused = removing.options(ctx)
  if not options then
    return nil, refused
  end
  refused = check_preconditions(resource, record, options)
  if refused then
    return nil, refused
  elseif resource.plural == "namespaces" and protected[ctx.name] then
    return nil, status.forbidden(resource, ctx.name, "this namespace may not be deleted")
  elseif is_dry(ctx, options) then
    return success(resource, record)
  elseif resource.plural == "namespaces" then
    return delete_namespace(api, resource, record)
  end
  local last, is_gone = delete_one(api, resource, record)
  return is_gone and success(resource, record) or last
end

--- DELETE of a collection.
-- @tparam table records  what the selectors chose
-- @treturn table  the same records, or nil, Status
function removing.delete_collection(api, ctx, records)
  local options, refused = removing.options(ctx)
  if not options then
    return nil, refused
  elseif not is_dry(ctx, options) then
    for _, record in ipairs(records) do
      if api.store:get(ctx.resource.storage, record.key) then
        delete_one(api, ctx.resource, record)
      end
    end
  end
  return records
end

return removing
