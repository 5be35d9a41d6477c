--- A router that speaks PCP (RFC 6887) or NAT-PMP (RFC 6886), in the terms of `igd`: what is asked for where no UPnP
-- gateway answers. `moonlb.announcer.port_control` is the protocol; here is one session for each address, and one of
-- the node's own that looks whether the router is still the same. What may wait runs in a task.
-- @module moonlb.announcer.upnp.pcp
local async = require("moonlb.async")
local heartbeat = require("moonlb.core.heartbeat")
local port_control = require("moonlb.announcer.port_control")
local runtime = require("moonlb.core.runtime")

local pcp = {}

local Pcp = { __name = "moonlb.announcer.upnp.pcp" }
Pcp.__index = Pcp

local PROBE, PATIENCE = 1.5, 5 -- seconds for an answer
local NONCE = 12 -- bytes
local NATPMP = 0
-- Discard (RFC 863): nobody maps it, so that asking for its end changes nothing.
local PROBE_PORT = 9
local REFUSED = "EREFUSED"

local function open(self, client, version)
  return port_control.open({ client = client, router = self.router, now = runtime.boottime, after = async.timer,
    random = math.random, version = version, on_restart = function() self.is_anew = true end })
end

-- Whoever knows the nonce may renew and end a mapping (RFC 6887 section 11.2): another node that takes the address
-- over, and the next run after a crash, have to come to the same.
local function nonce_of(m)
  return heartbeat.id(("%s %s %d"):format(m.description, m.protocol, m.port)):sub(1, NONCE)
end

local function map(session, fields, patience)
  local err, answer = async.await(function(resume) session:map(fields, patience, resume) end)
  if answer then return answer end
  if type(err) ~= "table" then return nil, "cancelled", "ECANCELED" end
  return nil, err.message, err.code
end

--- Does the router speak one of the two? In a task.
-- @tparam table options  `router`, `own` (the node's address)
-- @treturn Pcp  or nil, message, code
function pcp.find(options)
  local self = setmetatable({ router = options.router, own = options.own, sessions = {} }, Pcp)
  local session, message, code = open(self, self.own)
  if not session then return nil, message, code end
  local answer
  answer, message, code = map(session, { protocol = "udp", internal_port = PROBE_PORT, external_port = 0, lifetime = 0,
    nonce = nonce_of({ description = "moonlb", protocol = "udp", port = PROBE_PORT }) }, PROBE)
  self.is_natpmp = session.version == NATPMP
  session:close()
  if not answer and code ~= REFUSED then return nil, message, code end
  -- NAT-PMP's question for the outside address is answered by PCP servers as well, as a rule, and tells the epoch.
  self.watch, message, code = open(self, self.own, NATPMP)
  if not self.watch then return nil, message, code end
  return self
end

function Pcp:name()
  return self.is_natpmp and "NAT-PMP" or "PCP"
end

-- It chooses by itself: see add().
function Pcp.can_choose()
  return true
end

--- How the router is. One that does not tell its outside address by NAT-PMP tells it with a mapping.
-- @treturn table  as igd's
function Pcp:status()
  local err, answer = async.await(function(resume) self.watch:ask_address(PATIENCE, resume) end)
  if type(err) ~= "table" and not answer then return nil, "cancelled", "ECANCELED" end
  if not answer and self.is_natpmp then return nil, err.message, err.code end
  self.outside = answer and answer.external_address or self.outside
  return { is_connected = true, status = "", outside = self.outside }
end

--- Did the router lose its state since this was asked last (RFC 6887 section 8.5)?
function Pcp:was_restarted()
  local is_anew = self.is_anew or false
  self.is_anew = false
  return is_anew
end

local function session_for(self, address)
  local known = self.sessions[address]
  if known then return known end
  local session, message, code = open(self, address, self.is_natpmp and NATPMP or nil)
  self.sessions[address] = session
  return session, message, code
end

local function ask(self, m, external_port, lifetime)
  local session, message, code = session_for(self, m.address)
  if not session then return nil, message, code end
  return map(session, { protocol = m.protocol:lower(), internal_port = m.port, external_port = external_port,
    lifetime = lifetime, nonce = nonce_of(m) }, PATIENCE)
end

--- The same as igd's. The router gives another port when the wanted one is taken (RFC 6887 section 11.1).
function Pcp:add_any(m, external_port, lease)
  if m.family == 6 then return nil, "the router is asked for IPv4 ports alone", "ENOTSUP" end
  local answer, message, code = ask(self, m, external_port, lease)
  if not answer then return nil, message, code end
  self.outside = answer.external_address or self.outside
  return { external_port = answer.external_port, lease = math.max(1, answer.lifetime) }
end

--- The same as igd's: that port, or none.
function Pcp:add(m, external_port, lease)
  local given, message, code = self:add_any(m, external_port, lease)
  if not given or given.external_port == external_port or m.any_port then return given, message, code end
  ask(self, m, 0, 0)
  return nil, ("%s: port %d is mapped to somebody else; the router would give %d"):format(self:name(), external_port,
    given.external_port), REFUSED
end

--- The same as igd's.
function Pcp:remove(m)
  local answer, message, code = ask(self, m, 0, 0)
  return answer and true or nil, message, code
end

--- Neither protocol says who has a port.
function Pcp.find() return nil end

--- Neither protocol has a table: what a crash left and nobody wants ends with its lease.
function Pcp.list() return {} end

--- The address leaves this node.
function Pcp:forget(source)
  local session = self.sessions[source]
  self.sessions[source] = nil
  if session then session:close() end
end

function Pcp:close()
  self.watch:close()
  for source in pairs(self.sessions) do self:forget(source) end
end

return pcp
