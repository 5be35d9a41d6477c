--- Carries one decision of the engine to the API server, and finds out what became of it.
--
-- An address is reserved in the engine before its write is sent. The answer fulfils the reservation; a refusal (404,
-- 409, 422 and other 4xx) releases it; where there was no answer (a timeout, a 5xx) it stays until a GET has shown
-- what happened, so that an address is never given twice because a write was slow.
-- @module moonlb.allocator.writer
local fields = require("moonlb.allocator.fields")
local log = require("moonlb.core.log")
local null = require("cjson").null

local writer = {}

local Writer = { __name = "moonlb.allocator.writer" }
Writer.__index = Writer

-- No answer came, and yet the server cannot have seen the request.
local NOT_SENT = { ECONNREFUSED = true, EHOSTUNREACH = true, EAUTH = true, EAGAIN = true }

--- @tparam table options  `client`, `engine`, `services` (informer), `may_write()`: asked right before each write;
--   `on_written(key, decision, object)`
-- @treturn Writer  `doubts`: key -> `{patch=, decision=}` whose fate is unknown
function writer.new(options)
  return setmetatable({ client = options.client, engine = options.engine, services = options.services,
    may_write = options.may_write, on_written = options.on_written, doubts = {} }, Writer)
end

local function path_of(key)
  local namespace, name = key:match("^([^/]+)/(.+)$")
  return ("/api/v1/namespaces/%s/services/%s"):format(namespace, name)
end

--- What an error says of a write.
-- @tparam string reason
-- @tparam number|nil status  of HTTP, if any
-- @treturn string  `"gone"`, `"raced"`, `"refused"` (certainly not done) or `"unknown"`
function writer.fate(reason, status)
  if status == 404 or reason == "NotFound" then return "gone" end
  if status == 409 or reason == "Conflict" then return "raced" end
  if status and status >= 400 and status < 500 and status ~= 408 then return "refused" end
  if not status and NOT_SENT[reason] then return "refused" end
  return "unknown"
end

-- Whether the object says what the patch was to make it say.
local function shows(object, patch)
  local sent = patch.metadata.annotations and patch.metadata.annotations[fields.ASSIGNED]
  local annotations = object.metadata.annotations
  return sent ~= nil and type(annotations) == "table" and annotations[fields.ASSIGNED] == sent
end

-- The object is not there any more: the watch says so too, perhaps later.
local function forget(self, key)
  self.doubts[key] = nil
  self.engine:release(key)
  self.services:forget(key)
  return true
end

-- Take the object as an answer shows it. A reservation that it does not fulfil is over.
local function accept(self, key, object)
  self.doubts[key] = nil
  self.services:absorb(object)
  self.engine:release(key)
end

-- The object as a GET shows it, when it is another than the one that we meant to change.
-- @treturn boolean  whether it was our own write that changed it
local function find_out(self, key, write, object)
  local is_ours = shows(object, write.patch)
  if is_ours then self.on_written(key, write.decision, object) end
  accept(self, key, object)
  return is_ours
end

-- Another write came first: decide anew on what it left. It may have been this very one, whose answer got lost: libcurl
-- sends a request again when a kept connection turns out to be closed.
local function reread(self, key, write)
  local object, message, reason = self.client:get(path_of(key))
  if not object then
    if reason == "NotFound" then return forget(self, key) end
    self.doubts[key] = write
    return nil, message, reason
  end
  if find_out(self, key, write, object) then return true end
  return nil, "the Service was changed by somebody else meanwhile", "Conflict"
end

local function failed(self, key, write, message, reason, status)
  local fate = writer.fate(reason, status)
  log[fate == "raced" and "debug" or "warn"]("Service not written", { service = key, error = message, reason = reason,
    fate = fate })
  if fate == "gone" then return forget(self, key) end
  if fate == "raced" then return reread(self, key, write) end
  if fate == "refused" then
    self.doubts[key] = nil
    self.engine:release(key)
  else
    self.doubts[key] = write
  end
  return nil, message, reason
end

local function send(self, key, write)
  if not self.may_write() then
    if not self.doubts[key] then self.engine:release(key) end
    return nil, "not leading any more", "NotLeading"
  end
  local object, message, reason, status = self.client:merge_patch(path_of(key), write.patch)
  if not object then return failed(self, key, write, message, reason, status) end
  self.on_written(key, write.decision, object)
  accept(self, key, object)
  return true
end

--- Write what the engine decided. In a task.
-- @tparam string key
-- @tparam table result  of Engine:reconcile, with a patch
-- @treturn boolean  true when it is written or its Service is gone; or nil, message, reason: try again
function Writer:write(key, result)
  if result.reserve then self.engine:reserve(key, result.decision) end
  return send(self, key, { patch = result.patch, decision = result.decision })
end

--- Find out what became of a write without an answer. In a task. Unchanged since: the very same write again, so that
-- the first, should it still be under way, and this one cannot both count.
-- @treturn boolean  true when it is known; or nil, message, reason
function Writer:settle(key)
  local write = self.doubts[key]
  if not write then return true end
  local object, message, reason = self.client:get(path_of(key))
  if not object then
    if reason == "NotFound" then return forget(self, key) end
    return nil, message, reason
  end
  if object.metadata.resourceVersion == write.patch.metadata.resourceVersion then return send(self, key, write) end
  find_out(self, key, write, object)
  return true
end

--- The Service left the store: nothing of it is in doubt.
function Writer:drop(key)
  self.doubts[key] = nil
end

--- Empty `status.loadBalancer` of a Service that is no load balancer any more. In a task.
function Writer:clear_status(key)
  if not self.may_write() then return nil, "not leading any more", "NotLeading" end
  local object, message, reason = self.client:merge_patch(path_of(key) .. "/status",
    { status = { loadBalancer = { ingress = null } } })
  if object then self.services:absorb(object) end
  return object ~= nil or reason == "NotFound" or nil, message, reason
end

return writer
