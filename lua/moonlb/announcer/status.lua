--- What the announcer writes of a Service: one merge patch to /status for claim, vipHost, conflict and ingress.
-- Pure but for what it learns of the server: fields that the server drops are not written again (ipMode before 1.29,
-- ports before 1.20), so equality is judged on what the server keeps.
-- @module moonlb.announcer.status
local conflict = require("moonlb.announcer.conflict")
local lease = require("moonlb.announcer.dhcp.record")
local moves = require("moonlb.announcer.moves")
local null = require("cjson").null
local record = require("moonlb.announcer.upnp.record")

local status = {}

local Status = { __name = "moonlb.announcer.status" }
Status.__index = Status

--- What status shows of a Service that waits for a lease.
status.COMING = { ["0.0.0.0"] = true, ["::"] = true }
--- Annotation that names the node (kube-vip's), and the claim "term node".
status.HOST = "kube-vip.io/vipHost"
status.CLAIM = "moonlb.io/claim"

--- @tparam string node  this node's name
-- @tparam function walltime  seconds since 1970
function status.new(node, walltime)
  return setmetatable({ node = node, walltime = walltime, keeps = {} }, Status)
end

local function ingress_of(service)
  local balancer = type(service.status) == "table" and service.status.loadBalancer
  local ingress = type(balancer) == "table" and balancer.ingress
  return type(ingress) == "table" and ingress or {}
end

--- The addresses in a Service's status, as a set.
function status.addresses(service)
  local set = {}
  for _, entry in ipairs(ingress_of(service)) do
    if type(entry.ip) == "string" then set[entry.ip] = true end
  end
  return set
end

local function ports_of(service)
  local ports = {}
  for i, port in ipairs(type(service.spec.ports) == "table" and service.spec.ports or {}) do
    ports[i] = { port = math.tointeger(port.port) or port.port, protocol = port.protocol or "TCP" }
  end
  return ports
end

-- Outside addresses of routers stand behind the Service's own; `outside` nil: those that are there stay.
local function add_outside(ingress, service, outside)
  for _, entry in ipairs(outside or ingress_of(service)) do
    if entry.ipMode == "Proxy" and not status.COMING[entry.ip] then ingress[#ingress + 1] = entry end
  end
  return ingress
end

local function build_ingress(service, addresses)
  local ingress = {}
  for i, ip in ipairs(addresses) do
    local ports = ports_of(service)
    -- An address that is yet to come is none that kube-proxy may take for the Service's (core/v1 ipMode).
    local mode = status.COMING[ip] and "Proxy" or "VIP"
    ingress[i] = { ip = ip, ipMode = mode, ports = ports[1] and ports or nil }
  end
  return ingress
end

local function same_ports(a, b)
  if #(a or {}) ~= #(b or {}) then return false end
  for i, port in ipairs(a or {}) do
    if port.port ~= b[i].port or port.protocol ~= (b[i].protocol or "TCP") then return false end
  end
  return true
end

-- An absent ipMode means VIP (core/v1 LoadBalancerIngress).
function Status:same_entry(wanted, live)
  if wanted.ip ~= live.ip or live.hostname then return false end
  if self.keeps.ip_mode ~= false and wanted.ipMode ~= (live.ipMode or "VIP") then return false end
  if self.keeps.ports == false and not live.ports then return true end
  return same_ports(wanted.ports, live.ports)
end

function Status:same_ingress(wanted, live)
  if #wanted ~= #live then return false end
  for i, entry in ipairs(wanted) do
    if not self:same_entry(entry, live[i]) then return false end
  end
  return true
end

-- name -> text or null, for the annotations that differ.
local function changed_annotations(service, wanted)
  local live = type(service.metadata.annotations) == "table" and service.metadata.annotations or {}
  local changes
  for name, value in pairs(wanted) do
    value = value or nil
    if live[name] ~= value then
      changes = changes or {}
      changes[name] = value or null
    end
  end
  return changes
end

-- What was reported stays until it expires, also when the Service has another address by now (that is the quarantine),
-- or until this node, having reported it, holds the address. What `entries` says anew replaces it.
local function merge_conflicts(self, service, wanted)
  local live = type(service.metadata.annotations) == "table" and service.metadata.annotations[conflict.ANNOTATION]
  local merged, is_new = {}, {}
  for _, entry in ipairs(wanted.conflicts) do is_new[entry.address] = true end
  for _, entry in ipairs(conflict.parse(live or "")) do
    local is_over = entry.expires <= self.walltime()
      or (entry.node == self.node and (is_new[entry.address] or wanted.freed[entry.address]))
    if not is_over then merged[#merged + 1] = entry end
  end
  table.move(wanted.conflicts, 1, #wanted.conflicts, #merged + 1, merged)
  return conflict.format(merged) or false
end

--- The patch that makes the Service say what is so, or nil when it does.
-- @tparam table service  the object
-- @tparam table wanted  `addresses` (array; empty: clear; nil: leave status and claim alone),
--   `leaves_host` (true: another announcer writes vipHost again and again),
--   `claim` `{term=, node=}` (nil: leave what the API remembers alone),
--   `is_moved` (the request to move it is spent),
--   `mappings` (text of the annotation about the router, false: none, nil: leave it), `outside` (entries of status for
--   it, nil: leave them),
--   `lease` (text for the annotation of the lease; false: none; nil: leave it),
--   `conflicts` (array for moonlb.announcer.conflict.format), `freed` (set of addresses that this node holds)
-- @treturn table|nil  merge patch, guarded by resourceVersion
function Status:patch(service, wanted)
  local annotations = { [conflict.ANNOTATION] = merge_conflicts(self, service, wanted) }
  local ingress
  if wanted.lease ~= nil then annotations[lease.ANNOTATION] = wanted.lease end
  if wanted.addresses then
    local is_served = wanted.addresses[1] ~= nil
    if wanted.claim or not is_served then
      if not wanted.leaves_host then annotations[status.HOST] = is_served and wanted.claim.node end
      annotations[status.CLAIM] = is_served and ("%d %s"):format(wanted.claim.term, wanted.claim.node)
    end
    ingress = build_ingress(service, wanted.addresses)
    if is_served then add_outside(ingress, service, wanted.outside) end
    if wanted.is_moved then annotations[moves.ANNOTATION] = false end
    annotations[record.ANNOTATION] = is_served and wanted.mappings
    if self:same_ingress(ingress, ingress_of(service)) then ingress = nil end
  end
  local changes = changed_annotations(service, annotations)
  if not changes and not ingress then return nil end
  local patch = { metadata = { resourceVersion = service.metadata.resourceVersion, annotations = changes } }
  if ingress then
    patch.status = { loadBalancer = { ingress = ingress[1] and ingress or null } }
  end
  return patch
end

--- What the server made of a patch: learn which fields it keeps.
function Status:learn(patch, response)
  local sent = patch.status and patch.status.loadBalancer.ingress
  if not sent or sent == null then return end
  local got = ingress_of(response)[1]
  if not got or got.ip ~= sent[1].ip then return end
  if sent[1].ipMode then self.keeps.ip_mode = got.ipMode ~= nil end
  if sent[1].ports then self.keeps.ports = got.ports ~= nil end
end

return status
