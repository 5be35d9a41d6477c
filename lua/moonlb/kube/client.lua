--- The Kubernetes API for coroutines: objects in and out, errors as `nil, message, reason, status`.
--
-- `reason` is Kubernetes' own word (`Conflict`, `NotFound`, `Expired`, `Invalid`, `Forbidden`, ...) or, when no
-- answer came, an errno name. Objects are for reading: cjson turns `[]` into `{}`, so nothing read is ever written
-- back; writes are patches that we build ourselves.
-- @module moonlb.kube.client
local async = require("moonlb.async")
local cjson = require("cjson.safe")
local json = require("moonlb.json")

local client = {}

local Client = { __name = "moonlb.kube.client" }
Client.__index = Client

local reader = cjson.new()
reader.decode_max_depth(100)

-- Reasons for answers without a Status body (a proxy's page, an empty body).
local REASONS = {
  [400] = "BadRequest", [401] = "Unauthorized", [403] = "Forbidden", [404] = "NotFound", [405] = "MethodNotAllowed",
  [409] = "Conflict", [410] = "Expired", [413] = "RequestEntityTooLarge", [415] = "UnsupportedMediaType",
  [422] = "Invalid", [429] = "TooManyRequests", [500] = "InternalError", [503] = "ServiceUnavailable",
  [504] = "Timeout",
}

-- Tries of a request that the server asked us to repeat later (429, 503 with Retry-After).
local TRIES = 5
-- Seconds after which a watch that the server does not end in time is ended by us.
local GRACE = 15
-- Never wait longer than this for one such repetition, in seconds.
local LONGEST_PAUSE = 30

--- @param core  a client of moonlb.core.kube
-- @tparam[opt] table options  `priority` "normal" or "low", `timeout` seconds for each request, `tries` (5) of a
--   request that the server asks us to repeat later, `on_unauthorized()` called at each answer 401
-- @treturn Client
function client.new(core, options)
  options = options or {}
  return setmetatable({ core = core, priority = options.priority, timeout = options.timeout,
    tries = options.tries or TRIES, on_unauthorized = options.on_unauthorized or function() end }, Client)
end

--- Percent-encode a query value (RFC 3986 section 2.1).
-- @tparam string text
-- @treturn string
function client.escape(text)
  return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function with_query(path, query)
  local names, parts = {}, {}
  for name in pairs(query) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do parts[#parts + 1] = name .. "=" .. client.escape(tostring(query[name])) end
  if #parts == 0 then return path end
  return path .. (path:find("?", 1, true) and "&" or "?") .. table.concat(parts, "&")
end

-- Strings without control bytes, bounded: an answer may be anything.
local function excerpt(text)
  text = text:sub(1, 120):gsub("%c", " ")
  return text
end

--- What an HTTP answer means.
-- @tparam table response  `{status, body, content_type}`
-- @treturn table  the object; or nil, message, reason, status
function client.interpret(response)
  local object = reader.decode(response.body)
  local is_object = type(object) == "table"
  if response.status >= 200 and response.status < 300 then
    if is_object then return object end
    return nil, ("the answer is no JSON object: %s"):format(excerpt(response.body)), "EBADMSG", response.status
  end
  local reason = is_object and type(object.reason) == "string" and object.reason ~= "" and object.reason
  local message = is_object and type(object.message) == "string" and object.message
  return nil, message or ("HTTP %d: %s"):format(response.status, excerpt(response.body)),
    reason or REASONS[response.status] or "HTTP" .. response.status, response.status
end

-- Seconds until the request is sent again; nil when its answer stands.
local function pause_of(response)
  if response.status ~= 429 and not (response.status == 503 and response.retry_after) then return nil end
  return math.min(response.retry_after or 1, LONGEST_PAUSE)
end

--- One request.
-- @tparam string method
-- @tparam string path  with query
-- @tparam[opt] string body  JSON
-- @tparam[opt] string content_type
-- @tparam[opt] boolean keep_managed  leave metadata.managedFields in the answer
-- @treturn table  the object; or nil, message, reason, status
function Client:request(method, path, body, content_type, keep_managed)
  for try = 1, self.tries do
    local response, message, code = async.call(self.core, "request", {
      method = method, path = path, body = body, content_type = content_type, accept = "application/json",
      timeout = self.timeout, priority = self.priority, keep_managed = keep_managed,
    })
    if not response then return nil, message, code end
    if response.status == 401 then self.on_unauthorized() end
    local pause = pause_of(response)
    if not pause or try == self.tries then return client.interpret(response) end
    local ok
    ok, message, code = async.sleep(pause)
    if not ok then return nil, message, code end
  end
end

--- Read one object; `options.keep_managed` leaves metadata.managedFields in it.
function Client:get(path, options)
  return self:request("GET", path, nil, nil, options and options.keep_managed)
end

--- Create an object in the collection `path`.
function Client:create(path, object)
  return self:request("POST", path, json.encode(object), "application/json")
end

--- Merge patch (RFC 7386); `cjson.null` deletes a member. `patch` is a table, or JSON text.
function Client:merge_patch(path, patch)
  local body = type(patch) == "string" and patch or json.encode(patch)
  return self:request("PATCH", path, body, "application/merge-patch+json")
end

--- Delete one object; `options` is a DeleteOptions, such as `{preconditions = {uid = ...}}`.
function Client:delete(path, options)
  return self:request("DELETE", path, options and json.encode(options), options and "application/json")
end

--- List a collection in pages.
-- @tparam string path
-- @tparam table options  `limit` (500), `label_selector`, `field_selector`
-- @tparam function on_page  `(items, resource_version)`, called in order; may wait; the loop turns between pages
-- @treturn string  the list's resourceVersion; or nil, message, reason, status (`"Expired"`: begin anew)
function Client:list(path, options, on_page)
  local continue
  repeat
    local query = { limit = options.limit or 500, labelSelector = options.label_selector,
      fieldSelector = options.field_selector, continue = continue }
    local page, message, reason, status = self:request("GET", with_query(path, query))
    if not page then return nil, message, reason, status end
    local metadata = type(page.metadata) == "table" and page.metadata or {}
    on_page(type(page.items) == "table" and page.items or {}, metadata.resourceVersion)
    continue = type(metadata.continue) == "string" and metadata.continue ~= "" and metadata.continue or nil
    if not continue then return metadata.resourceVersion or "" end
    local ok
    ok, message, reason = async.sleep(0)
    if not ok then return nil, message, reason end
  until false
end

--- Follow a collection.
-- @tparam string path
-- @tparam table options  `resource_version`, `timeout` seconds, `idle` seconds without a byte (none), `label_selector`,
--   `field_selector`
-- @tparam function on_event  `(type, object)`: `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`
-- @tparam function on_end  `(err)` once; nil is a clean end, else `{message=, code=}` (`code` `"Expired"`: list anew)
-- @return a handle with `close()`; no `on_end` comes after it
function Client:watch(path, options, on_event, on_end)
  local query = { watch = 1, allowWatchBookmarks = true, resourceVersion = options.resource_version,
    timeoutSeconds = options.timeout, labelSelector = options.label_selector, fieldSelector = options.field_selector }
  local handle
  local function fail(err)
    handle:close()
    on_end(err)
  end
  local function on_line(line)
    local event = reader.decode(line)
    local object = type(event) == "table" and event.object
    if type(object) ~= "table" or type(event.type) ~= "string" then
      return fail({ message = "the watch sent no event: " .. excerpt(line), code = "EBADMSG" })
    end
    if event.type == "ERROR" then
      local reason = object.reason ~= json.null and object.reason or REASONS[object.code] or "Unknown"
      return fail({ message = tostring(object.message), code = object.code == 410 and "Expired" or reason })
    end
    on_event(event.type, object)
  end
  local err
  handle, err = self.core:watch({ path = with_query(path, query), timeout = options.timeout + GRACE,
    idle = options.idle }, on_line, function(failure)
    if failure and failure.status == 401 then self.on_unauthorized() end
    on_end(failure)
  end)
  if not handle then return nil, err end
  return handle
end

return client
