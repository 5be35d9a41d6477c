--- The connection to the API server: credentials found, kept fresh, and the clients over it.
-- @module moonlb.daemon.connection
local async = require("moonlb.async")
local client = require("moonlb.kube.client")
local core_kube = require("moonlb.core.kube")
local exec_credential = require("moonlb.kube.exec_credential")
local kube_config = require("moonlb.kube.config")
local log = require("moonlb.core.log")
local runtime = require("moonlb.core.runtime")

local connection = {}

local Connection = { __name = "moonlb.daemon.connection" }
Connection.__index = Connection

local EXEC_MARGIN = 60 -- seconds before its end at which a plugin's token is fetched anew
local IMPATIENT = 5 -- seconds for a request of the leader election
local EXEC_RETRY = 30 -- seconds after a plugin failed

--- Find the credentials. Does no I/O over the network.
-- @tparam table settings  `kubeconfig`, `context`
-- @tparam table environment
-- @treturn Connection  or nil, message, code
function connection.new(settings, environment)
  local options, message, code = kube_config.load(settings, environment)
  if not options then return nil, message, code end
  return setmetatable({ options = options, source = options.source, server = options.server }, Connection)
end

local refresh

-- Ask the plugin; its token replaces ours. One question at a time, and not again at once after a failure.
local function fetch_again(self)
  if self.is_fetching or self.is_closed then return end
  self.is_fetching = true
  async.run(function()
    local renewed, message = exec_credential.fetch(self.options.exec)
    if self.is_closed then return end
    if renewed and renewed.token then
      self.core:set_token(renewed.token)
    else
      log.warn("credential plugin", { error = message or "it printed no token" })
      renewed = { expires = runtime.walltime() + EXEC_RETRY + EXEC_MARGIN }
    end
    refresh(self, renewed)
    async.sleep(EXEC_RETRY)
    self.is_fetching = false
  end)
end

-- Ask the `exec` plugin again before its token ends.
function refresh(self, credential)
  if not credential.expires or self.is_closed then return end
  if self.timer then self.timer:stop() end
  local pause = math.max(EXEC_RETRY, credential.expires - runtime.walltime() - EXEC_MARGIN)
  self.timer = async.timer(pause + 1, function() fetch_again(self) end)
end

--- Open it. In a task, since an `exec` plugin may have to be asked.
-- @treturn boolean  true; or nil, message, code
function Connection:open()
  local options = {}
  for key, value in pairs(self.options) do options[key] = value end
  local credential
  if options.exec then
    local message, code
    credential, message, code = exec_credential.fetch(options.exec)
    if not credential then return nil, message, code end
    options.token = credential.token or options.token
    options.cert_data, options.key_data = credential.cert_data or options.cert_data,
      credential.key_data or options.key_data
  end
  options.exec, options.namespace, options.source = nil, nil, nil
  local message, code
  self.core, message, code = core_kube.client(options)
  if not self.core then return nil, message, code end
  if credential then refresh(self, credential) end
  -- A plugin that names no end of its token is asked again when the server refuses it.
  local function on_unauthorized()
    if credential then fetch_again(self) end
  end
  self.client = client.new(self.core, { on_unauthorized = on_unauthorized })
  self.low_priority = client.new(self.core, { priority = "low" })
  -- A renewal that comes late is worth nothing: it is tried anew, not repeated as it was.
  self.impatient = client.new(self.core, { timeout = IMPATIENT, tries = 1, on_unauthorized = on_unauthorized })
  return true
end

--- Close it; requests under way end with `ECANCELED`.
function Connection:close()
  self.is_closed = true
  if self.timer then self.timer:stop() end
  if self.core then self.core:close() end
end

return connection
