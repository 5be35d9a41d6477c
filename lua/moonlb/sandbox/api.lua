--- The embedded API: enough of a Kubernetes API server to try moonlb with kubectl and no cluster, and to test it.
-- In memory, on loopback, without authentication; so a request must name a loopback Host and carry no Origin, or a web
-- page in the user's browser could reach it.
-- @module moonlb.sandbox.api
local uv = require("luv")
local httpd = require("moonlb.core.httpd")
local clock = require("moonlb.sandbox.clock")
local faults = require("moonlb.sandbox.faults")
local json = require("moonlb.sandbox.json")
local resources = require("moonlb.sandbox.resources")
local routes = require("moonlb.sandbox.routes")
local service_allocation = require("moonlb.sandbox.service_allocation")
local status = require("moonlb.sandbox.status")
local stores = require("moonlb.sandbox.store")
local writing = require("moonlb.sandbox.writing")

local api = {}

local Server = { __name = "moonlb.sandbox.api.server" }
Server.__index = Server

local event_lifetime_s = 3600 -- as kube-apiserver's --event-ttl

local default_cidrs = { "10.96.0.0/16", "fd00:96::/112" }

-- ---- state ----

-- What a new cluster holds: the namespaces and the API's own Service.
local function populate(self)
  for _, name in ipairs({ "default", "kube-system", "kube-public", "kube-node-lease" }) do
    assert(self:create("v1", "namespaces", nil, { metadata = { name = name } }))
  end
  assert(self:create("v1", "services", "default", {
    metadata = { name = "kubernetes", labels = { component = "apiserver", provider = "kubernetes" } },
    spec = { ports = json.list({ { name = "https", port = 443, targetPort = 6443, protocol = "TCP" } }) },
  }))
end

--- The state of an API server without its sockets: what `answer` needs.
-- @tparam[opt] table options  `cluster_cidrs`, `node_ports={first=, last=}`, `history`, `now`: function giving seconds
--   since 1970
-- @treturn Server
function api.new(options)
  options = options or {}
  local self = setmetatable({
    store = stores.new({ history = options.history }), watches = {}, now = options.now or os.time,
  }, Server)
  self.allocator = service_allocation.new(self.store, {
    cluster_cidrs = options.cluster_cidrs or default_cidrs,
    node_ports = options.node_ports or { first = 30000, last = 32767 },
  })
  self.faults = faults.new(self)
  populate(self)
  return self
end

--- Create an object from within the process, with the checks and defaults of a POST.
-- @tparam string api_version
-- @tparam string plural
-- @tparam string|nil namespace
-- @tparam table object  as decoded from JSON; the store's from now on
-- @treturn table  the stored object, or nil, message, reason
function Server:create(api_version, plural, namespace, object)
  local resource = assert(resources.find(api_version, plural), "no such resource")
  local ctx = { resource = resource, namespace = namespace, query = {}, warnings = {} }
  object.metadata = object.metadata or {}
  local record, refused = writing.create(self, ctx, object)
  if not record then
    return nil, refused.message, refused.reason
  end
  return record.object
end

--- Remove Events older than an hour, as a real server does.
function Server:expire_events()
  local old = {}
  for record in self.store:each("events", {}) do
    if self.now() - clock.seconds(record.object.metadata.creationTimestamp) > event_lifetime_s then
      old[#old + 1] = record.key
    end
  end
  for _, key in ipairs(old) do
    self.store:remove("events", key)
  end
end

-- ---- requests ----

local function is_loopback(host)
  host = host:gsub(":%d+$", ""):lower()
  return host == "localhost" or host == "[::1]" or host:match("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function refuse_stranger(headers)
  local host = headers.host
  if not host or not is_loopback(host) then
    return status.failure(403, "Forbidden", "the sandbox API answers to loopback names only, not to Host "
      .. tostring(host))
  elseif headers.origin then
    return status.failure(403, "Forbidden", "the sandbox API does not answer web pages (Origin "
      .. tostring(headers.origin) .. ")")
  end
end

local function send(response, answer)
  if answer.stream then
    answer.stream(response)
  else
    response:send(answer.code, answer.headers, answer.body)
  end
end

-- Half of the right answer, with a length that fits, so that only the JSON is broken.
local function send_half(response, answer)
  if answer.stream then
    response:start(200, { ["Content-Type"] = "application/json" })
    response:write('{"type":"ADDED","object":{"kind":')
    response:finish()
  else
    response:send(answer.code, answer.headers, answer.body:sub(1, #answer.body // 2))
  end
end

local function answer_late(self, ctx, response, delay)
  local timer, is_gone = uv.new_timer(), false
  self.delayed[timer] = true
  response:on_close(function() is_gone = true end)
  timer:start(math.floor(delay * 1000), 0, function()
    timer:close()
    self.delayed[timer] = nil
    if not is_gone then
      send(response, routes.answer(self, ctx))
    end
  end)
end

local function play_fault(self, rule, ctx, response)
  if rule.late then
    routes.answer(self, ctx)
  end
  if rule.action == "drop" then
    response:abort()
  elseif rule.action == "truncate" then
    send_half(response, routes.answer(self, ctx))
  elseif rule.action == "slow" then
    answer_late(self, ctx, response, rule.delay)
  else
    send(response, faults.answer(rule))
  end
end

local function handle(self, incoming, response)
  local refused = refuse_stranger(incoming.headers)
  if refused then
    send(response, routes.refusal(refused))
  elseif incoming.path == "/sandbox/faults" then
    local code, text = self.faults:serve(incoming.method, incoming.body)
    response:send(code, { ["Content-Type"] = "application/json" }, text)
  else
    local ctx = routes.context(incoming)
    local rule = self.faults:take(ctx)
    if rule then
      play_fault(self, rule, ctx, response)
    else
      send(response, routes.answer(self, ctx))
    end
  end
end

-- ---- server ----

-- What happens each minute: bookmarks, and the end of old Events.
local function start_minutes(self, seconds)
  self.minute_timer = uv.new_timer()
  self.minute_timer:start(math.floor(seconds * 1000), math.floor(seconds * 1000), function()
    self:expire_events()
    local all = {}
    for watch in pairs(self.watches) do
      all[#all + 1] = watch
    end
    for _, watch in ipairs(all) do
      watch:bookmark()
    end
  end)
end

--- Serve the API.
-- @tparam[opt] table options  those of `api.new`, and `port` (0: any), `bookmark_interval` seconds (60)
-- @treturn Server  with `url`, `port`, `store`, `faults`; or nil, message, code
function api.start(options)
  options = options or {}
  local self = api.new(options)
  self.delayed = {}
  local listener, message, code = httpd.listen({
    address = "127.0.0.1", port = options.port or 0, max_connections = 1024,
  }, function(incoming, response) handle(self, incoming, response) end)
  if not listener then
    return nil, message, code
  end
  self.listener = listener
  self.port = listener:port()
  self.url = "http://127.0.0.1:" .. self.port
  start_minutes(self, options.bookmark_interval or 60)
  return self
end

--- Stop serving. Watches are cut; nothing is left on the loop. Stopping twice is fine.
function Server:stop()
  if not self.listener then
    return
  end
  self.faults:set({ action = "dropWatches" })
  for timer in pairs(self.delayed) do
    timer:stop()
    timer:close()
  end
  self.delayed = {}
  self.minute_timer:stop()
  self.minute_timer:close()
  self.listener:close()
  self.listener = nil
end

--- A kubeconfig for this server.
-- @treturn string  YAML
function Server:kubeconfig()
  return table.concat({
    "apiVersion: v1", "kind: Config", "clusters:", "- name: sandbox", "  cluster:", "    server: " .. self.url,
    "users:", "- name: sandbox", "  user: {}", "contexts:", "- name: sandbox",
    "  context: {cluster: sandbox, user: sandbox}", "current-context: sandbox", "",
  }, "\n")
end

return api
