--- What heartbeats need before they may begin: the cluster's identity and the key, which lies in a Secret.
--
-- The Secret `moonlb-heartbeat` holds `current` and, while a key is being changed, `previous`: 32 bytes each, base64.
-- The announcer that misses it makes it; of many that try, the API server lets one. A node uses the new key for sending
-- once every peer that it hears has it (core/segment.h), so a change of keys parts nobody.
-- @module moonlb.announcer.heartbeats
local async = require("moonlb.async")
local base64 = require("moonlb.kube.base64")
local identity = require("moonlb.announcer.identity")
local informer = require("moonlb.kube.informer")
local log = require("moonlb.core.log")
local uv = require("luv")

local heartbeats = {}

local Heartbeats = { __name = "moonlb.announcer.heartbeats" }
Heartbeats.__index = Heartbeats

heartbeats.SECRET = "moonlb-heartbeat"

local KEY_SIZE = 32
local RETRY = 5 -- seconds until the API is asked again
local CREATE_SPREAD = 0.3 -- seconds; many nodes that start at once do not all try

--- @tparam table options  `client`, `namespace` (of the Secret), `node`, `identity` (text or nil: the cluster's own),
--   `port`, `pulse`, `on_ready()`: heartbeats may begin
function heartbeats.new(options)
  local self = setmetatable({ client = options.client, namespace = options.namespace, node = options.node,
    identity = options.identity, port = options.port, pulse = options.pulse, on_ready = options.on_ready,
    path = ("/api/v1/namespaces/%s/secrets"):format(options.namespace) }, Heartbeats)
  self.secrets = informer.new({ client = self.client, path = self.path, log_name = "heartbeat key",
    field_selector = "metadata.name=" .. heartbeats.SECRET })
  return self
end

local function decode(data, name)
  local text = type(data) == "table" and data[name]
  local key = type(text) == "string" and base64.decode(text)
  if not key or #key ~= KEY_SIZE then
    return nil, ("Secret %s: %s is not %d bytes of base64"):format(heartbeats.SECRET, name, KEY_SIZE)
  end
  return key
end

--- The keys that a Secret holds.
-- @tparam table secret
-- @treturn string  the current one; or nil, message
-- @treturn string|nil  the previous one
function heartbeats.keys_of(secret)
  local current, message = decode(secret.data, "current")
  if not current then return nil, message end
  if type(secret.data.previous) ~= "string" or secret.data.previous == "" then return current end
  local previous
  previous, message = decode(secret.data, "previous")
  if not previous then return nil, message end
  return current, previous
end

--- Why there are no heartbeats yet, or nil.
function Heartbeats:trouble()
  if self.is_ready then return nil end
  if not self.cluster then return "the cluster's identity is not known: " .. (self.error or "not read yet") end
  return ("the key (Secret %s/%s) is not known: %s"):format(self.namespace, heartbeats.SECRET,
    self.error or self.secrets.error or "not read yet")
end

-- Where the cluster's identity may not be read, the key alone parts clusters.
local function find_identity(self)
  local found, why = identity.find(self.client, function() return self.is_stopped end,
    function(message) self.error = message end)
  if why then log.info("heartbeats carry no cluster identity of their own: the key parts clusters", { error = why }) end
  return found
end

local function use(self, secret)
  local current, previous = heartbeats.keys_of(secret)
  if not current then
    self.error = previous
    return log.error("the heartbeat key cannot be used", { error = previous })
  end
  local ok, message = self.pulse:set_keys(current, previous)
  if not ok then return log.error("the heartbeat key was not taken", { error = message }) end
  self.error = nil
  log.info("heartbeat key", { has_previous = previous ~= nil })
  if self.is_ready then return end
  ok, message = self.pulse:heartbeat({ node = self.node, cluster = self.cluster, port = self.port })
  if not ok then
    self.error = message
    return log.error("no heartbeats", { error = message })
  end
  self.is_ready = true
  self.on_ready()
end

-- Nobody made the key yet.
local function create(self)
  async.sleep(math.random() * CREATE_SPREAD)
  while not self.is_stopped and not self.secrets:get(self.namespace .. "/" .. heartbeats.SECRET) do
    local secret, message, reason = self.client:create(self.path, {
      apiVersion = "v1", kind = "Secret", type = "Opaque",
      metadata = { name = heartbeats.SECRET, namespace = self.namespace,
        labels = { ["app.kubernetes.io/name"] = "moonlb" } },
      data = { current = base64.encode(uv.random(KEY_SIZE)) },
    })
    if secret then
      log.info("heartbeat key made", { secret = self.namespace .. "/" .. heartbeats.SECRET })
      return self.secrets:absorb(secret)
    end
    if reason == "AlreadyExists" or reason == "Conflict" then return end
    self.error = message
    log.error("cannot make the heartbeat key: nothing is announced without it",
      { secret = self.namespace .. "/" .. heartbeats.SECRET, error = message, reason = reason })
    if not async.sleep(RETRY) then return end
  end
end

local function run(self)
  self.cluster = self.identity or find_identity(self)
  if not self.cluster or self.is_stopped then return end
  self.error = nil
  self.secrets:on(function(_, secret)
    if self.is_stopped then return end
    if secret then return use(self, secret) end
    log.warn("the heartbeat key was deleted: the one in use stays until there is another")
    async.run(create, self)
  end)
  self.secrets:start()
  if self.secrets:wait_synced() and self.secrets.count == 0 then create(self) end
end

--- Begin.
function Heartbeats:start()
  self.task = async.run(run, self)
  self.task.name = "heartbeats"
end

--- Stop following the Secret.
function Heartbeats:stop()
  self.is_stopped = true
  if self.task then self.task:cancel() end
  self.secrets:stop()
end

return heartbeats
