--- One Service in one sentence: what its object, and this node's announcer, say of it. Pure.
-- @module moonlb.status.services
local conflict = require("moonlb.announcer.conflict")
local fields = require("moonlb.allocator.fields")
local timestamp = require("moonlb.kube.timestamp")

local services = {}

--- The states, in the order in which the page counts them.
services.STATES = { "served", "waiting", "trouble", "ignored" }

local function map(value)
  return type(value) == "table" and value or {}
end

local function word(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- What an allocator decided: ours says it by an annotation, kube-vip's by a label beside the user's own field.
local function assigned(annotations, labels)
  local list = word(annotations[fields.ASSIGNED])
  if list then return list:match("^%S+") end
  if labels[fields.LABEL] ~= fields.LABEL_VALUE then return nil end
  return word(annotations[fields.ADDRESSES])
end

local function split(list)
  local items = {}
  for item in (list or ""):gmatch("[^,%s]+") do
    if #items < 16 then items[#items + 1] = item end
  end
  return items
end

--- The addresses that a Service's status shows.
-- @treturn table  in their order
-- @treturn table  as a set
function services.in_status(object)
  local list, set = {}, {}
  for _, entry in ipairs(map(map(map(object.status).loadBalancer).ingress)) do
    local ip = word(map(entry).ip)
    if ip and #list < 16 then list[#list + 1], set[ip] = ip, true end
  end
  return list, set
end

-- A stranger that answers for one of the addresses, as a node reported it.
local function stranger(annotations, addresses, now)
  local entries = conflict.parse(word(annotations[fields.CONFLICT]))
  for _, entry in ipairs(entries) do
    for _, item in ipairs(addresses) do
      if entry.address == item and entry.expires > now then
        return ("%s on %s of node %s answers for %s"):format(entry.mac, entry.interface, entry.node, item)
      end
    end
  end
  return nil
end

local VIP_SAYS = {
  probing = "The LAN is asked whether %s is free.",
  announcing = "%s is being announced.",
  releasing = "%s is being taken off this node.",
}

-- What this node's announcer does with the first address that is not served yet.
local function by_vip(context, addresses)
  for _, item in ipairs(addresses) do
    local vip = context.vips[item]
    if vip and vip.state == "conflict" then
      return "trouble", ("%s %s."):format(item, vip.reason or "is in conflict")
    end
    if vip and VIP_SAYS[vip.state] then return "waiting", VIP_SAYS[vip.state]:format(item) end
    if vip and vip.state == "wanted" and vip.reason then
      return "waiting", ("%s is not announced from this node: %s."):format(item, vip.reason)
    end
  end
  return nil
end

local function pending(context, key)
  local event = context.last_event(key)
  if event then return event.type == "Warning" and "trouble" or "waiting", event.message end
  if context.leader then return "waiting", ("It has no address yet; %s decides."):format(context.leader) end
  return "waiting", "It has no address yet."
end

local function answered(context, owner, addresses)
  local vip = context.vips[addresses[1]]
  if vip and (vip.state == "held" or vip.state == "announcing") and vip.interface then
    return ("Answered by this node on %s."):format(vip.interface)
  end
  return owner and ("Answered by node %s."):format(owner) or "In its status; no node is named."
end

local function leased(annotations)
  local lease = word(annotations[fields.LEASE])
  return lease and ("It has a DHCP lease of %s."):format(lease:match("^%S+")) or "It waits for a DHCP lease."
end

local function judge(object, key, context, row)
  local annotations = map(object.metadata.annotations)
  local why = context.why_ignored(key)
  if why then return "ignored", ("Left alone: %s."):format(why) end
  if word(object.metadata.deletionTimestamp) then return "waiting", "It is being deleted." end
  local given = row.given
  if not given[1] then return pending(context, key) end
  local trouble = stranger(annotations, given, context.now)
  if trouble then return "trouble", "A stranger: " .. trouble .. "." end
  if given[1] == fields.DHCP or given[1] == fields.DHCPV6 then
    if row.in_status[1] and row.in_status[1] ~= given[1] then
      return "served", leased(annotations) .. " " .. answered(context, row.owner, row.in_status)
    end
    return "waiting", leased(annotations)
  end
  for _, item in ipairs(given) do
    if not row.status_set[item] then
      local state, sentence = by_vip(context, given)
      if state then return state, sentence end
      return "waiting", ("%s is given; no node answers for it yet."):format(item)
    end
  end
  return "served", answered(context, row.owner, given)
end

--- What is to be said of a Service.
-- @tparam string key  `namespace/name`
-- @tparam table object  of type LoadBalancer; any field may be missing or of a wrong type
-- @tparam table context  `vips` {address = `{state=, interface=, reason=}`} of this node, `last_event(key)` -> `{type=,
-- message=}` or nil, `why_ignored(key)` -> text or nil, `leader` (text or nil), `now` seconds since 1970
-- @treturn table  `key`, `state` (of `services.STATES`), `sentence`, `addresses`, `owner` (node or nil), `created`
-- (seconds since 1970 or nil), `has_conflict`: a stranger was reported, so that the state may change by time alone
function services.describe(key, object, context)
  local metadata = object.metadata
  local annotations = map(metadata.annotations)
  local row = { key = key, created = timestamp.seconds(metadata.creationTimestamp),
    given = split(assigned(annotations, map(metadata.labels))) }
  row.in_status, row.status_set = services.in_status(object)
  row.has_conflict = annotations[fields.CONFLICT] ~= nil
  row.owner = row.in_status[1] and word(annotations[fields.HOST]) or nil
  row.state, row.sentence = judge(object, key, context, row)
  local is_dhcp = row.given[1] == fields.DHCP or row.given[1] == fields.DHCPV6
  row.addresses = row.given[1] and not (is_dhcp and row.in_status[1]) and row.given or row.in_status
  return row
end

return services
