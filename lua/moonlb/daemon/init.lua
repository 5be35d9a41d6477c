--- The daemon: one process with the allocator, the announcer, or both, and what they share.
-- @module moonlb.daemon
local announcer = require("moonlb.announcer")
local async = require("moonlb.async")
local capabilities = require("moonlb.announcer.capabilities")
local connection = require("moonlb.daemon.connection")
local control_operations = require("moonlb.control.operations")
local control_server = require("moonlb.control.server")
local controller = require("moonlb.allocator.controller")
local events = require("moonlb.kube.events")
local informer = require("moonlb.kube.informer")
local log = require("moonlb.core.log")
local outside = require("moonlb.policy.outside")
local policy_host = require("moonlb.policy.host")
local privileges = require("moonlb.daemon.privileges")
local projection = require("moonlb.daemon.projection")
local runtime = require("moonlb.core.runtime")
local server = require("moonlb.daemon.server")
local rivals = require("moonlb.announcer.rivals")
local store = require("moonlb.policy.store")
local uv = require("luv")

local daemon = {}

local Daemon = { __name = "moonlb.daemon" }
Daemon.__index = Daemon

local EXIT_USAGE, EXIT_FAILED = 2, 1
local LAST_WORDS = 1 -- seconds for Events that still wait at a clean stop
local STOP_LIMIT = 10 -- seconds for a clean stop; after it, the process ends as it is
-- A collection begins when memory has grown by a quarter, not doubled: memory is what we save, at little time.
local GC_PAUSE, GC_STEP = 125, 200
local ELECTION_WAIT = 0.25 -- seconds that the first list waits for the first attempt to lead
local ANNOUNCER_RETRY = 10 -- seconds until a node that lacked something is looked at again

local function services_path(namespace)
  return namespace and ("/api/v1/namespaces/%s/services"):format(namespace) or "/api/v1/services"
end

-- The allocator must know every Service, since an address is in use wherever it is; the announcer may be told to look
-- at one namespace.
local function open_services(self)
  local function follow(namespace)
    return informer.new({ client = self.connection.client, log_name = "services", path = services_path(namespace),
      project = projection.service })
  end
  local namespace = self.settings.namespace
  self.services = follow(not self.settings.allocate and namespace or nil)
  self.announced = self.settings.allocate and namespace and follow(namespace) or self.services
end

-- Mounted policies are loaded before the first Service is decided.
local function start_policies(self)
  local settings = self.settings
  self.outside = outside.new(settings.policy_http_allow)
  self.host = policy_host.new({ now = runtime.boottime, fallback = settings.policy_fallback,
    http = self.outside })
  self.policies = store.new({ dir = settings.policy_dir, host = self.host, outside = self.outside,
    settings = store.service_settings(settings, settings.configmap_namespace .. "/" .. settings.configmap),
    emit = function(...) if self.allocator then self.allocator:tell_of_configmap(...) end end,
    on_swap = function() if self.allocator and self.allocator.is_active then self.allocator:retry_pending() end end })
  self.policies:start()
end

local function start_allocator(self)
  start_policies(self)
  self.allocator = controller.new({
    client = self.connection.client, election_client = self.connection.impatient, services = self.services,
    events = self.events, settings = self.settings, host = self.host, policies = self.policies,
    identity = ("%s_%08x"):format(self.settings.node_name, math.random(0, 0xffffffff)),
  })
  self.allocator:start()
end

-- What the node needs for itself is not for Services, and changes with its network.
local function share_excluded(self)
  local function tell() self.allocator:set_excluded(self.announcer:excluded()) end
  self.announcer:on_excluded(tell)
  tell()
end

-- The announcer; or nil, message, code: what the node lacks. A missing capability is said here for the operator, and
-- by an Event on each Service that cannot be announced for want of it.
local function new_announcer(self)
  local is_able, message, code = capabilities.check_self()
  if not is_able then log.error("announcing will fail", { error = message, code = code }) end
  if not self.only_one then
    self.only_one, message, code = rivals.be_the_only_one(self.settings.heartbeat_port)
    if not self.only_one then return nil, message, code end
  end
  return announcer.new({
    client = self.connection.client, services = self.announced, node = self.settings.node_name,
    events = self.events, settings = self.settings,
  })
end

-- What is lacking now may be there later: it is looked at again.
local function start_announcer(self)
  repeat
    local message, code
    self.announcer, message, code = new_announcer(self)
    if not self.announcer then
      if message ~= self.announcer_error then log.error("cannot announce", { error = message, code = code }) end
      self.announcer_error = message
      if not async.sleep(ANNOUNCER_RETRY) then return end
    end
  until self.announcer or self.is_stopping
  if self.is_stopping then return end
  self.announcer_error = nil
  if self.allocator then
    share_excluded(self)
    if self.settings.preprobe then self.allocator:set_prober(self.announcer.preprobe) end
  end
  self.announcer:start()
end

-- People ask the daemon here (`moonlb repl`, `explain`). Without it addresses are announced all the same.
local function open_control(self)
  local folder = self.settings.state_dir
  local message, code
  if not uv.fs_stat(folder) then uv.fs_mkdir(folder, tonumber("755", 8)) end
  self.control, message, code = control_server.listen({ path = folder .. "/control.sock",
    operations = control_operations.new(self) })
  if not self.control then log.warn("no control socket", { error = message, code = code }) end
end

local function start(self)
  local ok, message = self.connection:open()
  if not ok then
    log.error("cannot reach the API", { error = message })
    return self:finish(EXIT_FAILED)
  end
  if self.is_stopping then return end -- while a credential plugin was asked
  self.events = events.new({ client = self.connection.low_priority, host = self.settings.node_name })
  open_services(self)
  self.server, message = server.start(self)
  if not self.server then
    log.error("cannot serve health and metrics", { error = message })
    return self:finish(EXIT_FAILED)
  end
  open_control(self)
  log.info("moonlb started", { version = runtime.version, server = self.connection.server,
    credentials = self.connection.source, node = self.settings.node_name, allocate = self.settings.allocate,
    announce = self.settings.announce })
  if self.settings.allocate then start_allocator(self) end
  -- A new leader needs a list that began after it won: wait that long, and the first list is that one.
  if self.allocator then self.allocator.election:wait_tried(ELECTION_WAIT) end
  if self.is_stopping then return end
  self.services:start()
  if self.announced ~= self.services then self.announced:start() end
  if self.settings.announce then self.announcer_task = async.run(start_announcer, self) end
end

--- End the loop with an exit code.
function Daemon:finish(code)
  self.exit_code = code
  if self.server then self.server:close() end
  if self.control then self.control:close() end
  if self.only_one then self.only_one:close() end
  for _, signal in ipairs(self.signals) do signal:close() end
  self.connection:close()
  uv.stop()
end

--- Stop cleanly: nothing is answered for any more, the Lease is given back. In a task.
function Daemon:stop(why)
  if self.is_stopping then return end
  self.is_stopping = true
  log.info("stopping", { why = why })
  async.timer(STOP_LIMIT, function()
    log.error("a clean stop took too long", { seconds = STOP_LIMIT })
    self:finish(EXIT_FAILED)
  end)
  if self.announcer_task then self.announcer_task:cancel() end
  if self.announcer then self.announcer:stop() end
  if self.allocator then self.allocator:stop() end
  if self.policies then self.policies:stop() end
  if self.outside then self.outside:close() end
  if self.services then
    self.services:stop()
    self.announced:stop()
  end
  if self.events then self.events:stop(LAST_WORDS) end
  self:finish(0)
end

local function on_signal(self, name)
  local signal = uv.new_signal()
  signal:start(name, function()
    if self.is_stopping then return self:finish(EXIT_FAILED) end -- asked twice: at once
    async.run(self.stop, self, name)
  end)
  self.signals[#self.signals + 1] = signal
end

-- A terminal that goes away is no reason to take addresses off the network.
local function ignore_hangup(self)
  local signal = uv.new_signal()
  signal:start("sighup", function() log.info("SIGHUP has no effect", {}) end)
  self.signals[#self.signals + 1] = signal
end

--- Run until a signal ends it.
-- @tparam table values  of moonlb.cli.settings
-- @tparam table environment
-- @treturn integer  exit code: 0 stopped by a signal, 2 unusable credentials, 1 it could not go on
function daemon.run(values, environment)
  collectgarbage("incremental", GC_PAUSE, GC_STEP)
  values.node_name = values.node_name or uv.os_gethostname()
  local link, message = connection.new(values, environment)
  if not link then
    io.stderr:write("moonlb: " .. message .. "\n")
    return EXIT_USAGE
  end
  privileges.drop(link.options)
  local self = setmetatable({ settings = values, connection = link, signals = {}, started_at = runtime.boottime() },
    Daemon)
  on_signal(self, "sigterm")
  on_signal(self, "sigint")
  ignore_hangup(self)
  async.run(start, self)
  uv.run()
  return self.exit_code
end

return daemon
