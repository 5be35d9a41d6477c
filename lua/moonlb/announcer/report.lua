--- What the announcer tells: Events on Services, counts for metrics, lists for people and for the allocator.
-- @module moonlb.announcer.report
local async = require("moonlb.async")
local interface = require("moonlb.announcer.interface")
local status = require("moonlb.announcer.status")

local RELEASED = 60

-- Methods of Announcer (moonlb.announcer).
local Report = {}

-- An Event on each of these Services that still exists.
function Report:tell(keys, type, reason, message)
  if self.is_stopping then return end
  for _, key in ipairs(keys or {}) do
    local service = self.services:get(key)
    if service then self.events:emit(service, type, reason, message) end
  end
end

-- Something people must act upon (InterfaceMissing, ...), said once until it changes; nil: it is over. `about` is an
-- address, or what else the complaint is about.
function Report:complain(keys, about, reason, message)
  for _, key in ipairs(keys) do
    local complaints = self.complaints[key] or {}
    self.complaints[key] = complaints
    local said = complaints[about]
    if (said and said.message) ~= message then
      complaints[about] = message and { reason = reason, message = message }
      if message then self:tell({ key }, "Warning", reason, message) end
    end
  end
end

-- The node that answered for the Service before this one, as its status says; nil when none did.
local function former_node(self, key)
  local service = key and self.services:get(key)
  local annotations = service and service.metadata.annotations
  return type(annotations) == "table" and annotations[status.HOST] or nil
end

-- For metrics.
function Report:count_change(it, old)
  self.changes[it.state] = (self.changes[it.state] or 0) + 1
  if old == "probing" then
    local result = it.state == "announcing" and "free" or it.state == "conflict" and "taken" or "given_up"
    self.probes[result] = self.probes[result] + 1
  elseif it.state == "announcing" and old ~= "held" then
    local former = former_node(self, it.keys and it.keys[1])
    if former and former ~= self.node then self.failovers = self.failovers + 1 end
  end
end

--- Give an address up on this node, with its group: another node that can takes it over; where there is none it is
-- served by nobody. After RELEASED seconds this node may serve it again.
-- @tparam string address
-- @treturn boolean  true; or nil, message, `"ENOENT"`
function Report:release(address)
  local key = self.groups:services_of(address)[1]
  local group = key and self.groups:of(key)
  if not group then return nil, ("no Service wants %s"):format(address), "ENOENT" end
  self.released[group.id] = true
  self:place_soon(key)
  async.timer(RELEASED, function()
    self.released[group.id] = nil
    if not self.is_stopping then self:place_soon(key) end
  end)
  return true
end

--- Ask for a planned move; see moonlb.announcer.moving. In a task.
function Report:move(address, node)
  return self.moving:request(address, node)
end

--- Take a request for a move back. In a task.
function Report:withdraw_move(address)
  return self.moving:withdraw(address)
end

--- The ports that this node has opened on routers; see lua/README.md.
function Report:mappings()
  return self.upnp:list()
end

--- What this node's network needs for itself; see lua/README.md.
function Report:excluded()
  local list = interface.excluded(self.host.view, self.node)
  for ip, reason in pairs(self.preprobe.taken) do list[#list + 1] = { first = ip, last = ip, reason = reason } end
  return list
end

function Report:tell_excluded()
  for _, fn in ipairs(self.excluded_listeners) do fn() end
end

--- Call `fn()` whenever excluded() may have changed.
function Report:on_excluded(fn)
  self.excluded_listeners[#self.excluded_listeners + 1] = fn
end

--- Every lease of this node: see moonlb.announcer.dhcp, list.
function Report:leases()
  return self.dhcp:list()
end

--- Every VIP of this node, ordered by address text.
-- @treturn table  array of `{address=, state=, since=, interface=, reason=, services=}`
function Report:list()
  local list = {}
  for _, it in pairs(self.vips) do
    list[#list + 1] = { address = it.address, state = it.state, since = it.since, reason = it.reason,
      interface = it.interface and it.interface.name, services = it.keys }
  end
  table.sort(list, function(a, b) return a.address < b.address end)
  return list
end

return Report
