--- The daemon's HTTP server: /healthz (the loop turns in time, and the thread that answers is not silent), /readyz
-- (what must be known is known), /metrics, and / with the status page.
-- @module moonlb.daemon.server
local async = require("moonlb.async")
local httpd = require("moonlb.core.httpd")
local metrics = require("moonlb.daemon.metrics")
local runtime = require("moonlb.core.runtime")
local status_page = require("moonlb.status")

local server = {}

local Server = { __name = "moonlb.daemon.server" }
Server.__index = Server

local LAG_PERIOD = 1 -- seconds between looks at the loop's lag
local SICK_LAG = 5 -- seconds of lag within the last period at which the process counts as ill
local SICK_MUTE = 10 -- seconds for which the pulse thread may be silent: it comes back by itself when the loop runs

local TEXT = { ["content-type"] = "text/plain; charset=utf-8" }

-- Since when the thread that answers for addresses is silent.
local function watch_mute(self)
  local announcer = self.daemon.announcer
  local is_mute = announcer and not announcer.is_stopping and announcer.pulse:stats().muted
  self.mute_since = is_mute and (self.mute_since or runtime.boottime()) or nil
end

-- A timer measures by how much the loop is late.
local function watch_lag(self)
  local due = runtime.boottime() + LAG_PERIOD
  self.due = due
  self.timer = async.timer(LAG_PERIOD, function()
    local lag = math.max(0, runtime.boottime() - due)
    self.lag, self.worst_lag = lag, math.max(self.worst_lag, lag)
    watch_mute(self)
    watch_lag(self)
  end)
end

-- Why the process is not ready, one reason a line; empty when it is.
local function missing(daemon)
  local reasons = {}
  local function need(ok, reason)
    if not ok then reasons[#reasons + 1] = reason end
  end
  local services = daemon.services
  need(services.synced, "services: " .. (services.error or "not listed yet"))
  if daemon.allocator then
    local ok, reason = daemon.allocator:ready()
    need(ok, "allocator: " .. (reason or ""))
  end
  if daemon.settings.announce then
    need(daemon.announced.synced, "announced services: " .. (daemon.announced.error or "not listed yet"))
    need(daemon.announcer and daemon.announcer.is_swept, "announcer: " .. (daemon.announcer_error or "starting"))
    local reason = daemon.announcer and daemon.announcer.peers:trouble()
    need(not reason, "heartbeats: " .. (reason or ""))
  end
  return reasons
end

local routes = {}

-- What is wrong with the process itself; nil when nothing is. That timers come at all is part of it: an answer proves
-- only that sockets are read.
local function illness(self)
  local now = runtime.boottime()
  local lag = math.max(self.lag, now - self.due)
  if lag > SICK_LAG then return ("the loop was %.1f s late"):format(lag) end
  if self.mute_since and now - self.mute_since > SICK_MUTE then
    return ("nothing is answered for %.0f s: the thread that does it is mute"):format(now - self.mute_since)
  end
  return nil
end

routes["/healthz"] = function(self)
  local what = illness(self)
  if what then return 503, what .. "\n" end
  return 200, "ok\n"
end

routes["/readyz"] = function(self)
  local reasons = missing(self.daemon)
  if #reasons > 0 then return 503, table.concat(reasons, "\n") .. "\n" end
  return 200, "ok\n"
end

routes["/metrics"] = function(self)
  return 200, metrics.render(self.daemon, self), { ["content-type"] = "text/plain; version=0.0.4; charset=utf-8" }
end

--- Answer one request.
function Server:answer(request, response)
  local route = routes[request.path]
  local is_page = self.status and status_page.serves(request.path)
  if not (route or is_page) then
    return response:send(404, TEXT, "not found: /, /healthz, /readyz and /metrics are here\n")
  end
  if request.method ~= "GET" and (is_page or request.method ~= "HEAD") then
    return response:send(405, TEXT, "GET expected\n")
  end
  if is_page then return self.status:answer(request, response) end
  local status, body, headers = route(self)
  response:send(status, headers or TEXT, body)
end

--- Start it; port 0 leaves it out.
-- @tparam Daemon daemon
-- @treturn Server  with `close()`; or nil, message, code
function server.start(daemon)
  local self = setmetatable({ daemon = daemon, lag = 0, worst_lag = 0 }, Server)
  if daemon.settings.port ~= 0 then
    local message, code
    self.http, message, code = httpd.listen({ address = daemon.settings.listen, port = daemon.settings.port,
      max_body = 1024 }, function(request, response) self:answer(request, response) end)
    if not self.http then return nil, message, code end
    self.status = daemon.settings.status_page and status_page.new(daemon) or nil
  end
  watch_lag(self)
  return self
end

--- Why the daemon is not ready, one reason each; empty when it is.
function Server:missing()
  return missing(self.daemon)
end

--- Stop it.
function Server:close()
  self.timer:stop()
  if self.status then self.status:close() end
  if self.http then self.http:close() end
end

return server
