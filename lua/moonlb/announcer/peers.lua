--- The announcer among other nodes: heartbeats in and out, what people say about this node, and leaving politely.
-- @module moonlb.announcer.peers
local async = require("moonlb.async")
local heartbeats = require("moonlb.announcer.heartbeats")
local informer = require("moonlb.kube.informer")
local log = require("moonlb.core.log")
local runtime = require("moonlb.core.runtime")
local vip = require("moonlb.announcer.vip")

local peers = {}

local Peers = { __name = "moonlb.announcer.peers" }
Peers.__index = Peers

--- On a Node: it is to serve nothing. The annotation is ours (`"true"`), the label Kubernetes' own.
peers.DRAIN = "moonlb.io/drain"
peers.EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"

-- The view of the API is stale when the API was out of reach for so long; seconds.
local STALE = 30
-- At a clean stop others take over within this time; seconds.
local LEAVE, LEAVE_STEP = 2, 0.01
local PORT = 2113

--- @tparam Announcer owner  moonlb.announcer: its pulse, wire, host, placement and Services are used
function peers.new(owner)
  return setmetatable({ owner = owner, placement = owner.placement, carrier = {} }, Peers)
end

-- Heartbeats may begin.
local function connect(self)
  local owner = self.owner
  self.placement:connect({ pulse = owner.pulse,
    attach = function(index) return owner.wire:attach(index) end,
    mtu = function(index) return owner.host.view.links[index] and owner.host.view.links[index].mtu or 1500 end })
end

--- The Services are known: other nodes may be heard and spoken to, as soon as there is a key.
function Peers:start()
  local owner, settings = self.owner, self.owner.settings
  self.heartbeats = heartbeats.new({ client = owner.client, node = owner.node, pulse = owner.pulse,
    namespace = settings.configmap_namespace or "kube-system", identity = settings.identity,
    port = settings.heartbeat_port or PORT, on_ready = function() connect(self) end })
  self.heartbeats:start()
  self.nodes = informer.new({ client = owner.client, path = "/api/v1/nodes", log_name = "node",
    field_selector = "metadata.name=" .. owner.node })
  self.nodes:on(function(name, node)
    if name == owner.node and not self.is_leaving then self:on_node(node) end
  end)
  self.nodes:start()
  self:on_node(nil) -- until it is known, a node that has to have labels has none
end

--- Why this node announces nothing yet, or nil.
function Peers:trouble()
  return self.heartbeats and self.heartbeats:trouble()
end

--- Is a node to serve nothing, by what its object says?
-- @tparam table|nil node  nil: it has none, or it is not read yet
-- @tparam table settings  `ignore_exclude_lb`, `node_selector` (function of moonlb.kube.label_selector, or nil)
-- @treturn string|nil  why
function peers.serves_nothing(node, settings)
  local metadata = node and node.metadata or {}
  if type(metadata.annotations) == "table" and metadata.annotations[peers.DRAIN] == "true" then
    return "annotation " .. peers.DRAIN
  end
  local labels = type(metadata.labels) == "table" and metadata.labels or {}
  if not settings.ignore_exclude_lb and labels[peers.EXCLUDED] ~= nil then return "label " .. peers.EXCLUDED end
  if settings.node_selector and not settings.node_selector({ metadata = { labels = labels } }) then
    return "its labels do not match --node-selector"
  end
  return nil
end

-- What this node's object says now.
function Peers:on_node(node)
  local why = peers.serves_nothing(node, self.owner.settings)
  if (why ~= nil) == (self.is_drain or false) then return end
  self.is_drain = why ~= nil
  log.info(why and "this node is to serve nothing: others take over" or "this node serves again", { reason = why })
  self.placement:set_leaving(self.is_drain)
end

-- A tick: look at the clock, for the segments and for the API.
local function on_beat(self)
  local now = runtime.boottime()
  self.api_lost_at = self.owner.services.error and (self.api_lost_at or now) or nil
  local is_stale = self.api_lost_at ~= nil and now - self.api_lost_at > STALE
  if is_stale ~= (self.is_stale or false) then
    self.is_stale = is_stale
    log.info(is_stale and "this node's view of the API is old: nodes with a newer one take over"
      or "this node's view of the API is up to date again", { error = self.owner.services.error })
    self.placement:set_stale(is_stale)
  end
  self.placement:tick()
end

--- An event of the pulse.
-- @treturn boolean  whether it was one for here
function Peers:on_pulse(event)
  if event.type == "beat" then
    on_beat(self)
  elseif event.type == "heartbeat" then
    -- The MACs of our nodes are no strangers'.
    if self.placement:hear(event) then self.owner.pulse:set_own_macs(self.placement:macs()) end
  else
    return false
  end
  return true
end

--- The links may have changed: an interface whose carrier comes back hears only now what became of its groups.
function Peers:links_changed()
  local carrier = {}
  for index, link in pairs(self.owner.host.view.links) do
    carrier[index] = link.is_running or false
    if self.carrier[index] == false and link.is_running then self.placement:slept(index) end
  end
  for index in pairs(self.carrier) do
    if carrier[index] == nil then self.placement:detached(index) end
  end
  self.carrier = carrier
end

--- Let others take over before this node falls silent, and accept what neighbours still send to it. In a task.
function Peers:leave()
  self.is_leaving = true
  if self.placement:wanted_by_others() == 0 then return end
  self.placement:set_leaving(true)
  local deadline = runtime.boottime() + LEAVE
  while self.placement:wanted_by_others() > 0 and runtime.boottime() < deadline do async.sleep(LEAVE_STEP) end
  log.info("others took over", { left = self.placement:wanted_by_others() })
  async.sleep(vip.LINGER)
end

--- Follow nothing any more.
function Peers:stop()
  self.placement:stop()
  if self.heartbeats then self.heartbeats:stop() end
  if self.nodes then self.nodes:stop() end
end

return peers
