--- The status page: `/`, its style and script, and the stream of what changes (server-sent events, HTML Living Standard
-- section 9.2). Read only. Its work is bounded however many look: views are made one after the other, kept for a
-- second, and given to all that want the same; viewers that follow live are counted.
-- @module moonlb.status
local async = require("moonlb.async")
local httpd = require("moonlb.core.httpd")
local json = require("moonlb.json")
local log = require("moonlb.core.log")
local page = require("moonlb.status.page")
local runtime = require("moonlb.core.runtime")
local services = require("moonlb.status.services")
local snapshot = require("moonlb.status.snapshot")
local view = require("moonlb.status.view")

local status = {}

local Status = { __name = "moonlb.status" }
Status.__index = Status

-- Viewers that follow live, and pages that wait to be made: more are told to come again.
status.FOLLOWERS, status.WAITING = 16, 16
-- A view is made anew at most once in FRESH seconds, and takes at most a twentieth of the time.
local FRESH, SHARE = 1, 20
-- The loop gets a turn after so many seconds of work.
local TURN = 0.004
-- A viewer that does not take so many bytes is cut; one that hears nothing for so long is sent a comment.
local SLOWEST, QUIET = 4 << 20, 15
local LONGEST_QUERY, LAST_PAGE = 100, 10000

local FILES = { ["/status/page.css"] = "text/css; charset=utf-8",
  ["/status/page.js"] = "text/javascript; charset=utf-8" }

local STATES = {}
for _, name in ipairs(services.STATES) do STATES[name] = true end

local function with(headers, type)
  local all = { ["content-type"] = type }
  for name, value in pairs(headers) do all[name] = value end
  return all
end

-- Gives the loop a turn when this one was long enough. Inside tasks.
local function new_pause()
  local began = runtime.boottime()
  return function()
    if runtime.boottime() - began < TURN then return end
    async.sleep(0)
    began = runtime.boottime()
  end
end

--- @tparam Daemon daemon
-- @treturn Status
function status.new(daemon)
  local self = setmetatable({ daemon = daemon, groups = {}, followers = 0, waiting = 0, made = {} }, Status)
  self.pause = new_pause()
  self.turn = async.signal()
  return self
end

--- What a query asks to see; whatever is in it, there is an answer.
-- @tparam string|nil query  raw
-- @treturn table  `query`, `state`, `page`, and `id`, which is equal for equal views
function status.parse(query)
  local fields = httpd.parse_query(query or "")
  local wanted = { page = math.tointeger(tonumber((fields.page or ""):match("^%d+$"))) or 1 }
  wanted.page = math.max(1, math.min(LAST_PAGE, wanted.page))
  wanted.state = STATES[fields.state] and fields.state or nil
  local words = (fields.q or ""):sub(1, LONGEST_QUERY):lower():match("^%s*(.-)%s*$")
  wanted.query = words ~= "" and words or nil
  wanted.id = ("%d %s %s"):format(wanted.page, wanted.state or "", wanted.query or "")
  return wanted
end

-- One is made at a time: they share the loop with what announces.
local function make(self, wanted)
  local known = self.made[wanted.id]
  if known and runtime.boottime() - known.at < FRESH then return known end
  if self.waiting >= status.WAITING then return nil end
  self.waiting = self.waiting + 1
  while self.is_making and not self.is_closed do self.turn:wait() end
  self.is_making = true
  local began = runtime.boottime()
  self.source = self.source or snapshot.new(self.daemon, self.pause)
  local ok, result = xpcall(function()
    local data = self.source:take(wanted)
    local regions = view.render(data, wanted, { page_size = snapshot.SERVICES, pause = self.pause })
    return { data = data, regions = regions, at = runtime.boottime(), took = runtime.boottime() - began }
  end, debug.traceback)
  self.is_making = false
  self.waiting = self.waiting - 1
  self.turn:notify()
  if not ok then error(result, 0) end
  for id, it in pairs(self.made) do
    if runtime.boottime() - it.at >= FRESH then self.made[id] = nil end
  end
  self.made[wanted.id] = result
  return result
end

local function busy(response)
  response:send(503, with({ ["retry-after"] = "5" }, "text/plain; charset=utf-8"),
    "too many look at this page now; try again in some seconds\n")
end

-- The whole page. The regions are those that followers get; ages are written out by the page's script, or stay times.
local function send_page(self, request, response)
  local wanted = status.parse(request.query)
  local made = make(self, wanted)
  if not made or self.is_closed then return busy(response) end
  local pieces = {}
  local regions = view.render(made.data, wanted, { now = runtime.walltime(), page_size = snapshot.SERVICES,
    pause = self.pause })
  page.write(made.data, regions, wanted, function(piece) pieces[#pieces + 1] = piece end)
  response:send(200, with(page.HEADERS, "text/html; charset=utf-8"), table.concat(pieces))
end

-- Following ---------------------------------------------------------------------------------------------------------

local function event_text(changes)
  local message = {}
  for name, change in pairs(changes) do
    message[name] = { order = change.order and json.array(change.order), html = json.object(change.html) }
  end
  return "event: change\ndata: " .. json.encode(json.object(message)) .. "\n\n"
end

local function drop(self, group, follower)
  if not group.followers[follower] then return end
  group.followers[follower] = nil
  self.followers = self.followers - 1
  group.signal:notify()
end

local function write(self, group, follower, piece)
  if follower.response:pending() > SLOWEST then
    follower.response:abort()
    return drop(self, group, follower)
  end
  if not follower.response:write(piece) then return drop(self, group, follower) end
  follower.written_at = runtime.boottime()
end

-- Followers may come and go while others are written to.
local function list_of(followers)
  local list = {}
  for follower in pairs(followers) do list[#list + 1] = follower end
  return list
end

local function has_new(group)
  for follower in pairs(group.followers) do
    if follower.is_new then return true end
  end
  return false
end

-- What each follower of a view lacks; those that came since the last time lack everything.
local function tell(self, group, made)
  local news = view.difference(group.regions, made.regions)
  local text, all = news and event_text(news), nil
  group.regions = made.regions
  for _, follower in ipairs(list_of(group.followers)) do
    if follower.is_new and group.followers[follower] then
      all = all or event_text(view.difference(nil, made.regions))
      follower.is_new = nil
      write(self, group, follower, all)
    elseif text and group.followers[follower] then
      write(self, group, follower, text)
    elseif group.followers[follower] and runtime.boottime() - follower.written_at > QUIET then
      write(self, group, follower, ": still here\n\n")
    end
    self.pause()
  end
end

-- Seconds that it took; FRESH when too many others wait.
local function make_and_tell(self, group)
  local made = make(self, group.wanted)
  if not made then
    async.sleep(FRESH)
    return FRESH / SHARE
  end
  tell(self, group, made)
  return made.took
end

-- Make the view anew as long as somebody follows it.
local function follow(self, group)
  while next(group.followers) and not self.is_closed do
    local ok, took = xpcall(make_and_tell, debug.traceback, self, group)
    if not ok then log.error("the status page", { error = took }) end
    local rest = math.max(FRESH, ok and SHARE * took or FRESH)
    -- Who came while others were told must not wait for the next time; after a failure everybody does.
    if next(group.followers) and not (ok and has_new(group)) then group.signal:wait(rest) end
  end
  self.groups[group.wanted.id] = nil
end

local function send_events(self, request, response)
  if self.followers >= status.FOLLOWERS or self.is_closed then return busy(response) end
  local wanted = status.parse(request.query)
  local group = self.groups[wanted.id]
  local is_first = not group
  group = group or { wanted = wanted, followers = {}, signal = async.signal() }
  self.groups[wanted.id] = group
  local follower = { response = response, is_new = true, written_at = runtime.boottime() }
  group.followers[follower] = true
  self.followers = self.followers + 1
  response:on_close(function() drop(self, group, follower) end)
  response:start(200, with(page.HEADERS, "text/event-stream"))
  response:write("retry: 3000\n\n")
  if is_first then async.run(follow, self, group) else group.signal:notify() end
end

local function send_file(_, request, response)
  local headers = with(page.HEADERS, FILES[request.path])
  headers["cache-control"] = "max-age=3600"	-- their addresses carry the version
  response:send(200, headers, assert(runtime.source("moonlb" .. request.path)))
end

local ROUTES = { ["/"] = send_page, ["/status/events"] = send_events,
  ["/status/page.css"] = send_file, ["/status/page.js"] = send_file }

--- Is the path one of the status page's?
function status.serves(path)
  return ROUTES[path] ~= nil
end

--- Answer a GET request for such a path; may take some turns of the loop.
function Status:answer(request, response)
  async.run(function()
    local ok, err = xpcall(ROUTES[request.path], debug.traceback, self, request, response)
    if ok then return end
    log.error("the status page", { path = request.path, error = err })
    response:send(500, with(page.HEADERS, "text/plain; charset=utf-8"), "this could not be made; the log says why\n")
  end)
end

--- End every stream.
function Status:close()
  self.is_closed = true
  for _, group in pairs(self.groups) do
    for follower in pairs(group.followers) do follower.response:finish() end
    group.signal:notify()
  end
end

return status
