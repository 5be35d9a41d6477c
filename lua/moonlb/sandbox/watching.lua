--- WATCH: a stream of events, one line each, with bookmarks, selectors and an end.
-- @module moonlb.sandbox.watching
local uv = require("luv")
local json = require("moonlb.sandbox.json")
local reading = require("moonlb.sandbox.reading")
local render = require("moonlb.sandbox.render")
local request = require("moonlb.sandbox.request")
local status = require("moonlb.sandbox.status")

local watching = {}

local Watch = { __name = "moonlb.sandbox.watching.watch" }
Watch.__index = Watch

-- A client that is gone, or has left too much unread (see `moonlb.core.httpd`), ends the watch.
local function write(self, text)
  if not self.is_closed and not self.response:write(text) then
    self:close("abort")
  end
end

--- End the stream.
-- @tparam string how  `"finish"`: as a server that ends it; `"abort"`: the connection is cut; `"gone"`: the client left
function Watch:close(how)
  if self.is_closed then
    return
  end
  self.is_closed = true
  if self.watcher then
    self.watcher:stop()
  end
  if self.timer then
    self.timer:stop()
    self.timer:close()
  end
  self.api.watches[self] = nil
  if how == "finish" then
    self.response:finish()
  elseif how == "abort" then
    self.response:abort()
  end
end

--- Send a bookmark, to those who asked for them.
function Watch:bookmark()
  if self.wants_bookmarks and not self.is_frozen then
    write(self, render.bookmark(self.ctx.resource, self.api.store.revision, self.view))
  end
end

local function sees(self, record)
  if not record then
    return false
  end
  local prefix = self.prefix
  return record.key:sub(1, #prefix) == prefix and (not self.selects or self.selects(record.object))
end

-- An object that left the selector goes as it was, under the version of the change.
local function as_left(event)
  if not event.left then
    local object = json.copy(event.old.object)
    object.metadata.resourceVersion = tostring(event.revision)
    event.left = { object = object, texts = {} }
  end
  return event.left
end

local function send(self, kind, record)
  self.view.now = self.api.now()
  write(self, render.event(self.ctx.resource, kind, record, self.view))
  self.view.headless = true
end

local function on_event(self, event)
  if self.is_frozen then
    return
  end
  local before, now = sees(self, event.old), event.type ~= "DELETED" and sees(self, event.record)
  if before and event.type == "DELETED" then
    send(self, "DELETED", event.record)
  elseif before and now then
    send(self, "MODIFIED", event.record)
  elseif now then
    send(self, "ADDED", event.record)
  elseif before then
    send(self, "DELETED", as_left(event))
  end
end

local function send_existing(self)
  for record in self.api.store:each(self.ctx.resource.storage, { prefix = self.prefix }) do
    if sees(self, record) then
      send(self, "ADDED", record)
    end
  end
end

local function start_timer(self, seconds)
  self.timer = uv.new_timer()
  self.timer:start(math.floor(seconds * 1000), 0, function()
    self:bookmark()
    self:close("finish")
  end)
end

local function send_expired(self, message)
  write(self, json.encode({ type = "ERROR", object = status.expired(message) }) .. "\n")
  self:close("finish")
end

--- What a watch request asks for, checked before anything is sent.
-- @treturn table  `{selects=, from=|nil, timeout=seconds}`, or nil, Status
function watching.plan(ctx)
  local selects, equal = reading.selector(ctx)
  if not selects and equal.kind == "Status" then
    return nil, equal
  end
  local from, refused = reading.revision(ctx.query.resourceVersion)
  if from == false then
    return nil, refused
  elseif ctx.query.sendInitialEvents or ctx.query.resourceVersionMatch then
    local name = ctx.query.sendInitialEvents and "sendInitialEvents" or "resourceVersionMatch"
    return nil, status.invalid({ group = "meta.k8s.io", plural = "", kind = "ListOptions" }, "",
      { status.forbidden_field(name, name .. " is forbidden for watch: the WatchList feature is not served") })
  end
  local timeout = tonumber(ctx.query.timeoutSeconds or "")
  if not timeout or timeout <= 0 then
    timeout = 1800 + math.random(1800) -- a real server ends watches at a random time within the hour
  end
  return { selects = selects, from = from ~= 0 and from or nil, timeout = timeout }
end

--- Serve a watch on a response.
-- @tparam table api
-- @tparam table ctx
-- @tparam table view  form of the events (see `moonlb.sandbox.render`)
-- @tparam table plan  of `watching.plan`
-- @tparam userdata response  of `moonlb.core.httpd`
-- @treturn Watch
function watching.start(api, ctx, view, plan, response)
  local self = setmetatable({
    api = api, ctx = ctx, view = view, response = response, selects = plan.selects,
    prefix = ctx.namespace and ctx.namespace .. "/" or "",
    wants_bookmarks = request.is_true(ctx.query.allowWatchBookmarks),
  }, Watch)
  api.watches[self] = true
  response:on_close(function() self:close("gone") end)
  response:start(200, { ["Content-Type"] = "application/json", ["Cache-Control"] = "no-cache, private" })
  if not plan.from then
    send_existing(self)
  end
  local watcher, message = api.store:watch(ctx.resource.storage, plan.from, function(event) on_event(self, event) end)
  if not watcher then
    send_expired(self, message)
  elseif self.is_closed then
    watcher:stop()
  else
    self.watcher = watcher
    start_timer(self, plan.timeout)
  end
  return self
end

return watching
