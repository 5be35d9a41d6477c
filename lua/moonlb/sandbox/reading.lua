--- GET and LIST: selectors, pages, resourceVersions of the past and of the future.
-- @module moonlb.sandbox.reading
local json = require("moonlb.sandbox.json")
local selectors = require("moonlb.sandbox.selectors")
local status = require("moonlb.sandbox.status")

local reading = {}

local options_kind = { group = "meta.k8s.io", plural = "", kind = "ListOptions" }

--- The shelf's key of an object.
function reading.key(resource, namespace, name)
  return resource.namespaced and namespace .. "/" .. name or name
end

--- The selectors of a request.
-- @tparam table ctx
-- @treturn function|nil  `fn(object) -> boolean`, nil when there is no selector; or nil, Status
-- @treturn table  field values that must be equal (see `selectors.fields`)
function reading.selector(ctx)
  local label_text, field_text = ctx.query.labelSelector, ctx.query.fieldSelector
  local by_label, by_field, equal, message
  if label_text and label_text ~= "" then
    by_label, message = selectors.labels(label_text)
    if not by_label then
      return nil, status.bad_request(message)
    end
  end
  if field_text and field_text ~= "" then
    by_field, equal = selectors.fields(field_text, ctx.resource.fields)
    if not by_field then
      return nil, status.bad_request(equal)
    end
  end
  if by_label and by_field then
    return function(object) return by_label(object) and by_field(object) end, equal
  end
  return by_label or by_field, equal or {}
end

--- A resourceVersion of the query.
-- @treturn integer|nil  nil when unset; false and a Status when it is no number
function reading.revision(text)
  if text == nil or text == "" then
    return nil
  end
  local revision = text:match("^%d+$") and math.tointeger(tonumber(text))
  if not revision then
    return false, status.bad_request(('resourceVersion: Invalid value: "%s": strconv.ParseUint: parsing "%s": '
      .. "invalid syntax"):format(text, text))
  end
  return revision
end

local function too_large(wanted, current)
  local causes = json.list({ { reason = "ResourceVersionTooLarge", message = "Too large resource version" } })
  return nil, status.failure(504, "Timeout", ("Too large resource version: %d, current: %d"):format(wanted, current),
    { causes = causes, retryAfterSeconds = 1 })
end

-- ---- continue tokens: as kube-apiserver makes them ----

local function token_of(revision, start)
  local text = json.base64(json.encode({ v = "meta.k8s.io/v1", rv = revision, start = start .. "\0" }))
  return (text:gsub("=+$", ""):gsub("+", "-"):gsub("/", "_"))
end

local function read_token(text)
  local plain = json.base64_decode(text)
  local value = plain and json.decode(plain)
  if not json.is_object(value) or math.type(value.rv) ~= "integer" or type(value.start) ~= "string" then
    return nil, status.bad_request("invalid continue token: it is not one that this server gave")
  end
  return { revision = value.rv, start = value.start }
end

local function expired_token(revision, start)
  local refused = status.expired("The provided continue parameter is too old to display a consistent list result. "
    .. "You can start a new list without the continue parameter, or use the continue token in this response to "
    .. "retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - "
    .. "objects that were created, modified, or deleted between the time the first chunk was returned and now may show "
    .. "up in the list.")
  refused.metadata = { continue = token_of(revision, start), resourceVersion = nil }
  return refused
end

-- ---- lists ----

-- At which revision to list and where to start: { at=|nil, start=|nil, limit=|nil }, or nil, Status.
local function check_match(query, revision)
  local match = query.resourceVersionMatch
  if not match or match == "" then
    return true
  elseif match ~= "Exact" and match ~= "NotOlderThan" then
    return nil, status.invalid(options_kind, "",
      { status.unsupported("resourceVersionMatch", match, { "Exact", "NotOlderThan" }) })
  elseif not revision or (match == "Exact" and revision == 0) then
    return nil, status.invalid(options_kind, "", { status.forbidden_field("resourceVersionMatch", not revision
      and "resourceVersionMatch is forbidden unless resourceVersion is provided"
      or 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"') })
  end
  return true
end

local function plan_of(api, query)
  local revision, refused = reading.revision(query.resourceVersion)
  if revision == false then
    return nil, refused
  end
  local right
  right, refused = check_match(query, revision)
  if not right then
    return nil, refused
  end
  local limit = tonumber(query.limit or "0")
  if math.type(limit) ~= "integer" or limit < 0 then
    return nil, status.bad_request("limit: Invalid value: not a number: " .. tostring(query.limit))
  end
  if query.continue and query.continue ~= "" then
    if revision and revision ~= 0 then
      return nil, status.bad_request("specifying resource version is not allowed when using continue")
    end
    local token
    token, refused = read_token(query.continue)
    if not token then
      return nil, refused
    end
    return { at = token.revision >= 0 and token.revision or nil, start = token.start, limit = limit }
  end
  if revision and revision > api.store.revision then
    return too_large(revision, api.store.revision)
  end
  return { at = query.resourceVersionMatch == "Exact" and revision or nil, limit = revision == 0 and 0 or limit }
end

-- The keys that the request may see, as a prefix; a name by field selector is looked up, not searched.
local function range_of(ctx, equal, plan)
  local prefix = ctx.namespace and ctx.namespace .. "/" or ""
  local name = ctx.name or equal["metadata.name"]
  local start = plan.start and prefix .. plan.start or nil
  if name and (ctx.namespace or not ctx.resource.namespaced) then
    return { prefix = prefix .. name, from = start, at = plan.at }
  end
  return { prefix = prefix, from = start, at = plan.at }
end

-- A page: the records, whether there are more, and how many.
local function page_of(iterate, selects, limit)
  local records, more = {}, 0
  for record in iterate do
    if not selects or selects(record.object) then
      if limit > 0 and #records == limit then
        more = more + 1
        if selects then
          break -- how many remain is not told with a selector
        end
      else
        records[#records + 1] = record
      end
    end
  end
  return records, more
end

local function metadata_of(ctx, records, more, revision, selects)
  local metadata = { resourceVersion = tostring(revision) }
  if more > 0 then
    local last = records[#records].key
    local prefix = ctx.namespace and ctx.namespace .. "/" or ""
    metadata.continue = token_of(revision, last:sub(#prefix + 1))
    metadata.remainingItemCount = not selects and more or nil
  end
  return metadata
end

--- List what a request asks for.
-- @tparam table api
-- @tparam table ctx  `{resource=, namespace=|nil, query=}`
-- @treturn table  records in key order, or nil, Status
-- @treturn table  the list's metadata
function reading.list(api, ctx)
  local selects, equal = reading.selector(ctx)
  if not selects and equal.kind == "Status" then
    return nil, equal
  end
  local plan, refused = plan_of(api, ctx.query)
  if not plan then
    return nil, refused
  end
  local iterate = api.store:each(ctx.resource.storage, range_of(ctx, equal, plan))
  if not iterate and plan.start then
    return nil, expired_token(-1, (plan.start:gsub("\0$", "")))
  elseif not iterate then
    return nil, status.expired("The resourceVersion for the provided list is too old.")
  end
  local records, more = page_of(iterate, selects, plan.limit)
  return records, metadata_of(ctx, records, more, plan.at or api.store.revision, selects)
end

--- Get one object.
-- @treturn table  record, or nil, Status
function reading.get(api, ctx)
  local record = api.store:get(ctx.resource.storage, reading.key(ctx.resource, ctx.namespace, ctx.name))
  if not record then
    return nil, status.not_found(ctx.resource, ctx.name)
  end
  local revision, refused = reading.revision(ctx.query.resourceVersion)
  if revision == false then
    return nil, refused
  elseif revision and revision > api.store.revision then
    return too_large(revision, api.store.revision)
  end
  return record
end

return reading
