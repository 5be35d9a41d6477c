--- What the allocator writes: merge patches (RFC 7396) and Events. Built from nothing, never read, changed and
-- written back. Pure.
-- @module moonlb.allocator.writes
local fields = require("moonlb.allocator.fields")
local json = require("moonlb.json")
local pools = require("moonlb.allocator.pools")

local writes = {}

local HOSTNAME = "kube-vip.io/loadbalancerHostname"

local function map(value)
  return type(value) == "table" and value or {}
end

-- Fields whose value is to change; nil when none is. json.null takes a field away.
local function changes(current, desired)
  local result
  for name, value in pairs(desired) do
    local present = current[name]
    if present == json.null then present = nil end
    if value == json.null and present ~= nil or value ~= json.null and present ~= value then
      result = result or {}
      result[name] = value
    end
  end
  return result
end

-- The patch that brings an object to these annotations, labels and spec fields; nil when it is there.
local function patch_of(record, annotations, labels, spec)
  local object = record.object
  local patch = {
    annotations = changes(map(object.metadata.annotations), annotations),
    labels = changes(map(object.metadata.labels), labels),
  }
  local changed_spec = changes(map(object.spec), spec)
  if not next(patch) and not changed_spec then return nil end
  patch.resourceVersion = record.version
  return { metadata = patch, spec = changed_spec }
end

-- spec.loadBalancerIP: the first address. With --no-spec-ip an empty field stays empty, but one that says otherwise is
-- put right: left alone, it would count as the user's next edit.
local function spec_ip(record, first, settings)
  local present = map(record.object.spec).loadBalancerIP
  if settings.no_spec_ip and (type(present) ~= "string" or present == "" ) then return nil end
  return first
end

-- A policy is called as its file or its key in the ConfigMap: in the annotation that is one word.
local function word(name)
  name = (name or ""):gsub("[^%w_.-]", "_")
  return name ~= "" and name or "unnamed"
end

-- Assigned from a pool, and known to be free because they were probed ahead of time.
local function probed(decision, settings)
  if decision.action ~= "assign" or not settings.is_probed then return json.null end
  for _, item in ipairs(decision.addresses) do
    if not settings.is_probed(item) then return json.null end
  end
  return table.concat(decision.addresses, ",")
end

local function patch_given(record, decision, settings)
  local addresses = table.concat(decision.addresses, ",")
  local annotations = {
    [fields.ASSIGNED] = ("%s %s/%s"):format(addresses, word(decision.policy), word(decision.rule)),
    [fields.ADDRESSES] = addresses,
    [fields.PLACE] = decision.place and decision.place[1] and table.concat(decision.place, ",") or nil,
    [fields.PROBED] = probed(decision, settings),
    [HOSTNAME] = decision.hostname,
  }
  local present = map(record.object.metadata.annotations)[fields.INTERFACE]
  if present == nil or present == "" then annotations[fields.INTERFACE] = decision.interface end
  return patch_of(record, annotations, { [fields.LABEL] = fields.LABEL_VALUE },
    { loadBalancerIP = spec_ip(record, decision.addresses[1], settings) })
end

-- Take away what we wrote. What the user asked for stays his.
local function patch_taken(record)
  local annotations = { [fields.ASSIGNED] = json.null, [fields.PLACE] = json.null, [fields.PROBED] = json.null }
  local labels, spec = {}, {}
  if map(record.object.metadata.labels)[fields.LABEL] == fields.LABEL_VALUE then labels[fields.LABEL] = json.null end
  if record.by and not record.by:find("/static$") and not record.by:find("/dhcp$") and not record.is_edited then
    annotations[fields.ADDRESSES], spec.loadBalancerIP = json.null, json.null
  end
  return patch_of(record, annotations, labels, spec)
end

-- kube-vip's decision becomes ours by saying so; its fields are as we would write them.
local function patch_adopted(record, decision, settings)
  local patch = patch_given(record, decision, settings)
  if patch and patch.spec and map(record.object.spec).loadBalancerIP == nil then patch.spec = nil end
  return patch
end

-- A Service that keeps its address, where only the nodes are ranked anew.
local function patch_placed(record, decision)
  if not decision.place then return nil end
  return patch_of(record, { [fields.PLACE] = decision.place[1] and table.concat(decision.place, ",") or json.null }, {},
    {})
end

--- The patch that a decision asks for.
-- @tparam table record  see `moonlb.allocator.service`
-- @tparam table decision  see `Engine.decide`
-- @tparam table settings  `no_spec_ip`, `is_probed(address)` (optional)
-- @treturn table|nil  with `json.null` for fields to take away; nil when nothing is to be written
function writes.patch(record, decision, settings)
  if decision.action == "pending" then
    return record.assigned and patch_taken(record) or nil
  end
  if decision.action == "keep" then
    if record.is_adopted then return patch_adopted(record, decision, settings) end
    return record.assigned and not record.is_edited and patch_placed(record, decision) or nil
  end
  return patch_given(record, decision, settings)
end

--- What is to be cleared when a Service of ours is no load balancer any more.
-- @treturn table|nil  the patch
-- @treturn boolean  whether its status still names addresses
function writes.clear(record)
  local ingress = map(map(record.object.status).loadBalancer).ingress
  return patch_taken(record), type(ingress) == "table" and next(ingress) ~= nil
end

--- The patch that takes the cloud controllers' finalizer from a Service that is being deleted.
-- @treturn table|nil  nil when it has none, is not ours, or another controller takes care of it
function writes.finalizer_removal(record, settings)
  if settings.keep_ccm_finalizer or record.why_ignored then return nil end
  local left, is_there = {}, false
  for _, name in ipairs(map(record.object.metadata.finalizers)) do
    if name == fields.FINALIZER then is_there = true else left[#left + 1] = name end
  end
  if not is_there then return nil end
  return { metadata = { resourceVersion = record.version, finalizers = left[1] and json.array(left) or json.null } }
end

local function event(events, kind, reason, message)
  events[#events + 1] = { type = kind, reason = reason, message = message }
end

local function failure_event(events, failure)
  local place = failure.where or ""
  if failure.rule then place = place .. ", rule " .. failure.rule end
  if place ~= "" then place = " (" .. place .. ")" end
  event(events, "Warning", "PolicyFailed", ("policy %s%s: %s"):format(failure.policy, place, failure.reason))
end

local function exhausted_events(events, decision)
  for _, full in ipairs(decision.exhausted or {}) do
    event(events, "Warning", "PoolExhausted", pools.describe_full(full))
  end
end

local GIVEN = { assign = "assigned", share = "shared", static = "assigned", dhcp = "DHCP" }

local function describe(decision)
  return ("%s %s, %s (%s/%s)"):format(table.concat(decision.addresses, ","), GIVEN[decision.action], decision.message,
    decision.policy, decision.rule)
end

local function decision_events(record, decision)
  local events = {}
  if decision.failure then failure_event(events, decision.failure) end
  if decision.conflict then event(events, "Warning", "AddressConflict", decision.conflict) end
  if GIVEN[decision.action] then
    event(events, "Normal", "AddressAssigned", describe(decision))
  elseif decision.exhausted and (decision.action == "pending" or decision.refused) then
    exhausted_events(events, decision)
  elseif decision.action == "pending" then
    event(events, "Warning", "AddressRefused", decision.message)
  elseif decision.refused then
    event(events, "Warning", "AddressRefused", ("%s; it keeps %s"):format(decision.refused,
      table.concat(record.assigned, ",")))
  end
  return events
end

-- What must differ for Events to be told again: counts that move while a Service waits are no news.
local function gist(events)
  local parts = {}
  for i, item in ipairs(events) do parts[i] = item.reason .. ":" .. item.message:gsub("%d+ of %d+", "") end
  return table.concat(parts, "\n")
end

--- The Events of a decision, each told once until something else is to be said.
-- @treturn table  array of `{type="Normal"|"Warning", reason=, message=}`
function writes.events(record, decision)
  local events = decision_events(record, decision)
  local told = events[1] and gist(events) or nil
  if told == record.told then return {} end
  record.told = told
  return events
end

--- The bad items of a configuration as Events on the ConfigMap.
function writes.configmap_events(config)
  local events = {}
  for _, warning in ipairs(config.warnings) do
    if not warning.is_note then
      local is_named = warning.message:find(warning.item, 1, true)
      event(events, "Warning", "ConfigInvalid",
        ("%s: %s%s"):format(warning.key, is_named and "" or ("%q: "):format(warning.item), warning.message))
    end
  end
  return events
end

return writes
