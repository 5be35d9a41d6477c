--- Everything a decision looks at: configuration, Services, Nodes, who holds what. Fed one object at a time; each
-- costs a few index look-ups. The policy worker keeps a replica by being fed the same. Pure.
-- @module moonlb.allocator.state
local address = require("moonlb.core.address")
local conflict = require("moonlb.announcer.conflict")
local config = require("moonlb.allocator.config")
local fields = require("moonlb.allocator.fields")
local label_index = require("moonlb.allocator.label_index")
local ownership = require("moonlb.allocator.ownership")
local pools = require("moonlb.allocator.pools")
local service = require("moonlb.allocator.service")
local sharing = require("moonlb.allocator.sharing")

local state = {}

local State = { __name = "moonlb.allocator.state" }
State.__index = State

--- @tparam table options  `settings` (see `service.read`), `now`, `utc` (see `ownership.new`)
-- @treturn State  fields to read: `configmap`, `config`, `pools`, `ownership`, `sharing`, `services` {key = record},
-- `nodes` {name = object}, `labels`
function state.new(options)
  local self = setmetatable({ settings = options.settings, services = {}, reservations = {}, loans = {}, nodes = {},
    counts = {}, homes = {}, total = 0, labels = label_index.new() }, State)
  self.ownership = ownership.new({ now = options.now, utc = options.utc,
    on_change = function(item) self.sharing:refresh(item) end })
  self.sharing = sharing.new(self.ownership)
  self:set_configmap(nil)
  return self
end

--- Take a new configuration. No Service's address is touched by it.
-- @treturn table  warnings, see `config.read`
function State:set_configmap(object)
  self.configmap = object
  self.config = config.read(object, self.settings.configmap)
  self.sharing:configure(self.config)
  self.pools = pools.new(self.config, self.ownership, self.sharing)
  return self.config.warnings
end

-- Whether a Service counts as having an address.
local function has_address(record)
  if record.why_ignored then return false end
  return record.assigned ~= nil or record.reserved ~= nil
end

local function count(self, record, change)
  if not (record and record.is_counted) then return end
  self.counts[record.namespace] = (self.counts[record.namespace] or 0) + change
  if record.home then self.homes[record.home] = (self.homes[record.home] or 0) + change end
  self.total = self.total + change
end

-- Addresses that a write of ours gives the Service, until an event shows that it did or release() says that it
-- failed.
local function add_reserved(record, addresses)
  record.reserved = addresses
  for _, item in ipairs(addresses) do
    if not service.is_unspecified(item) then
      record.holds = record.holds or {}
      record.holds[item] = service.GRANTED
    end
  end
end

local function is_fulfilled(record, reserved)
  return record.assigned ~= nil and table.concat(record.assigned, ",") == table.concat(reserved, ",")
end

local function read_conflicts(self, record)
  local text = record.object.metadata.annotations[fields.CONFLICT]
  if type(text) ~= "string" then return end
  for _, entry in ipairs(conflict.parse(text)) do
    local item = address.canonical(entry.address)
    if item then
      self.ownership:set_quarantine(item, entry.expires, ("quarantined until %s: %s answered for it on %s of node %s")
        :format(os.date("!%H:%M:%S UTC", math.floor(entry.expires)), entry.mac, entry.interface, entry.node))
    end
  end
end

local function put(self, old, record, is_resting)
  if record then
    record.is_counted = has_address(record)
    record.told = old and old.told
  end
  count(self, old, -1)
  count(self, record, 1)
  self.labels:replace(old, record)
  self.services[(record or old).key] = record
  return self.ownership:replace(old, record, is_resting)
end

--- Take a Service as the API has it now.
-- @treturn table|nil  its record (see `service.read`); nil when it is none of ours to look at
-- @treturn boolean  whether an address came free by it (it rests before it is offered again)
function State:set_service(object)
  local record = service.read(object, self.settings)
  local key = record and record.key or (object.metadata.namespace or "default") .. "/" .. object.metadata.name
  local old = self.services[key]
  if not (old or record) then return nil, false end
  local reserved = self.reservations[key]
  if record and reserved and not is_fulfilled(record, reserved) and record.is_load_balancer then
    add_reserved(record, reserved)
  else
    self.reservations[key] = nil
  end
  local freed = put(self, old, record, true)
  if record and record.is_load_balancer then read_conflicts(self, record) end
  return record, freed
end

--- Forget a Service: it is gone from the API.
-- @treturn boolean  whether an address came free by it
function State:remove_service(key)
  local old = self.services[key]
  self.reservations[key] = nil
  return old ~= nil and put(self, old, nil, true)
end

--- Hold addresses for a Service until a write has shown them.
-- @tparam string key
-- @tparam table addresses
-- @tparam[opt] string home  the node that is meant for them: it counts there from now on
function State:reserve(key, addresses, home)
  local record = self.services[key]
  count(self, record, -1)
  record.home = home or record.home
  self.reservations[key] = addresses
  add_reserved(record, addresses)
  record.is_counted = has_address(record)
  count(self, record, 1)
  for _, item in ipairs(addresses) do
    if not service.is_unspecified(item) then self.ownership:hold(item, record) end
  end
end

--- Give up a reservation: the write did not happen. Its addresses were never used, so they do not rest.
function State:release(key)
  local old = self.services[key]
  if not self.reservations[key] or not old then return end
  self.reservations[key] = nil
  put(self, old, service.read(old.object, self.settings), false)
end

--- Hold addresses for a Service while a batch is decided, as a reservation would, and counted as one. Ended by
-- `give_back`, before anything else changes.
-- @treturn boolean  false when the Service has a reservation or a loan
function State:lend(key, addresses)
  local record = self.services[key]
  if self.reservations[key] or self.loans[key] then return false end
  self.loans[key] = { holds = record.holds, addresses = addresses, was_counted = record.is_counted }
  local holds = {}
  for item, level in pairs(record.holds or {}) do holds[item] = level end
  for _, item in ipairs(addresses) do holds[item] = service.GRANTED end
  count(self, record, -1)
  record.holds, record.reserved, record.is_counted = holds, addresses, true
  count(self, record, 1)
  for _, item in ipairs(addresses) do self.ownership:hold(item, record) end
  return true
end

--- End a loan.
function State:give_back(key)
  local loan, record = self.loans[key], self.services[key]
  self.loans[key] = nil
  if not loan then return end
  count(self, record, -1)
  record.holds, record.reserved, record.is_counted = loan.holds, nil, loan.was_counted
  count(self, record, 1)
  for _, item in ipairs(loan.addresses) do
    if not (loan.holds and loan.holds[item]) then self.ownership:drop(item, record, false) end
  end
end

--- Look at a Service that has addresses as if it had been made just now, and had none yet. Nothing else may change
-- until `put_back`; its `object` still is the one with the addresses (see `service.as_made`).
-- @treturn table  the record it has meanwhile
function State:set_aside(key)
  local old = self.services[key]
  local record = service.anew(old)
  put(self, old, record, false)
  self.aside = old
  return record
end

--- End `set_aside`.
-- @treturn table  the record with the addresses
function State:put_back()
  local old = self.aside
  self.aside = nil
  put(self, self.services[old.key], old, false)
  return old
end

local function node_addresses(object)
  local list = {}
  local status = type(object.status) == "table" and object.status or {}
  for _, entry in ipairs(type(status.addresses) == "table" and status.addresses or {}) do
    local item = type(entry.address) == "string" and entry.type ~= "Hostname" and address.canonical(entry.address)
    if item and not service.is_unspecified(item) then list[#list + 1] = item end
  end
  return list
end

local function same_list(a, b)
  return table.concat(a, ",") == table.concat(b, ",")
end

local function readmit(self, node, name)
  for _, item in ipairs(node and node.excluded or {}) do self.ownership:unexclude(item, "address of node " .. name) end
end

-- Whether a Service has the address, and does not only ask for it.
local function is_given(self, item)
  if not self.ownership:is_held(item) then return false end
  for _, record in ipairs(self.ownership:holders(item)) do
    if record.holds[item] > service.ASKED then return true end
  end
  return false
end

--- Take a Node as the API has it now: its addresses are given to nobody, but one that a Service held first is the
-- Service's.
function State:set_node(object)
  local name = object.metadata.name
  local old, list = self.nodes[name], node_addresses(object)
  self.nodes[name] = { object = object, addresses = list, excluded = old and old.excluded or {} }
  if old and same_list(old.addresses, list) then return end
  readmit(self, old, name)
  local excluded = {}
  for _, item in ipairs(list) do
    if not is_given(self, item) then
      self.ownership:exclude(item, "address of node " .. name)
      excluded[#excluded + 1] = item
    end
  end
  self.nodes[name].excluded = excluded
end

--- Forget a Node.
function State:remove_node(name)
  readmit(self, self.nodes[name], name)
  self.nodes[name] = nil
end

-- Another Service that keeps a Service from an address; nil when none does.
local function holder_before(self, record, item)
  if not self.ownership:is_held(item) then return nil end
  local others_granted
  for _, other in ipairs(self.ownership:holders(item)) do
    if other.key ~= record.key and other.holds[item] > service.ASKED then
      others_granted = true
      if not self.sharing:is_allowed(record, other) then return other end
    end
  end
  if others_granted or (record.holds and (record.holds[item] or 0) > service.ASKED) then return nil end
  for _, other in ipairs(self.ownership:holders(item)) do
    if other.key ~= record.key and service.is_older(other, record)
      and not self.sharing:is_allowed(record, other) then
      return other
    end
  end
  return nil
end

--- Whether a Service may be given an address: real unicast, not excluded, held by nobody else unless both may share
-- it.
-- @tparam table record  of the Service
-- @tparam string item  canonical
-- @treturn boolean|nil  true, or nil
-- @treturn string|nil  why not
-- @treturn string|nil  the key of the Service that holds it
function State:usable(record, item)
  local kind = address.kind(item)
  if kind ~= "unicast" then return nil, ("%s is no address for a Service (%s)"):format(item, kind) end
  local reason = self.ownership:why_excluded(item)
  if reason and not (record.holds and record.holds[item] == service.GRANTED) then
    return nil, ("%s is excluded: %s"):format(item, reason)
  end
  local other = holder_before(self, record, item)
  if other then return nil, ("%s is held by Service %s"):format(item, other.key), other.key end
  return true
end

--- Whether another Service holds one of these addresses as well: then they are shared.
function State:is_shared(record, addresses)
  for _, item in ipairs(addresses) do
    if self.ownership:is_held(item) then
      for _, other in ipairs(self.ownership:holders(item)) do
        if other.key ~= record.key and other.holds[item] > service.ASKED then return true end
      end
    end
  end
  return false
end

--- The Service to which this one has lost an address that both were given: the older one keeps it.
-- @treturn table|nil  its record
-- @treturn string|nil  the address
function State:displaced_by(record)
  for _, item in ipairs(record.assigned or {}) do
    for _, other in ipairs(self.ownership.many[item] or {}) do
      if other.key ~= record.key and other.holds[item] == service.GRANTED and service.is_older(other, record)
        and not sharing.is_compatible(other, record) then
        return other, item
      end
    end
  end
  return nil
end

--- Say all that this state was told and still knows, for a replica that begins late.
-- @tparam func tell  called with the name of a method of this module and its arguments, in an order that leads to
-- the same state
function State:replay(tell)
  tell("set_configmap", self.configmap)
  for _, record in pairs(self.services) do tell("set_service", record.object) end
  for _, node in pairs(self.nodes) do tell("set_node", node.object) end
  for _, entry in ipairs(self.ownership.exclusions) do tell("exclude", entry.text, entry.reason) end
  for key, addresses in pairs(self.reservations) do tell("reserve", key, addresses) end
end

--- Take addresses out of every pool, see `Ownership:exclude`.
function State:exclude(text, reason)
  return self.ownership:exclude(text, reason)
end

--- End an exclusion.
function State:unexclude(text, reason)
  self.ownership:unexclude(text, reason)
end

--- The nodes as policies see them, by name: `{name=, labels=, taints={{key=, value=, effect=}...}, addresses=,
-- is_draining=, services=}`, of which the last is how many Services with an address live there or are meant to.
function State:list_nodes()
  local result = {}
  for name, node in pairs(self.nodes) do
    local labels, taints, spec = {}, {}, type(node.object.spec) == "table" and node.object.spec or {}
    for label, value in pairs(node.object.metadata.labels or {}) do labels[label] = value end
    for i, taint in ipairs(type(spec.taints) == "table" and spec.taints or {}) do
      taints[i] = { key = taint.key, value = taint.value, effect = taint.effect }
    end
    result[#result + 1] = { name = name, labels = labels, taints = taints, addresses = { table.unpack(node.addresses) },
      is_draining = spec.unschedulable == true, services = self.homes[name] or 0 }
  end
  table.sort(result, function(a, b) return a.name < b.name end)
  return result
end

--- How many Services have an address: of a namespace, or of all.
function State:count(namespace)
  if namespace then return self.counts[namespace] or 0 end
  return self.total
end

return state
