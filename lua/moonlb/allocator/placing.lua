--- Where a group shall live, as its policy ranks the nodes: runs on the leader alone, ahead of need. Announcers never
-- run a policy; they read the names from `moonlb.io/place`.
-- @module moonlb.allocator.placing
local fields = require("moonlb.allocator.fields")
local service = require("moonlb.allocator.service")

local placing = {}

local EMPTY = {}

-- The Services joined by these addresses, oldest first.
local function members(state, record, addresses)
  local list, seen = { record }, { [record.key] = true }
  for _, item in ipairs(addresses) do
    for _, other in ipairs(not service.is_unspecified(item) and state.ownership:holders(item) or EMPTY) do
      if not seen[other.key] and other.holds[item] == service.GRANTED then
        list[#list + 1], seen[other.key] = other, true
      end
    end
  end
  table.sort(list, service.is_older)
  return list
end

local function copy(map)
  local result = {}
  for name, value in pairs(map) do
    if type(value) == "string" then result[name] = value end
  end
  return result
end

local function place_of(record)
  local text = record.object.metadata.annotations[fields.PLACE]
  local names = {}
  for name in (type(text) == "string" and text or ""):gmatch("[^,]+") do names[#names + 1] = name end
  return names
end

--- What `place` gets to see of a group.
-- @tparam State state
-- @tparam table record  of one of its Services
-- @tparam table addresses  that it has, or is to get
-- @treturn table  `{addresses=, services={{namespace=, name=, labels=, annotations=}...}, place=names}`: its Services
-- oldest first, and the ranking that the oldest has now
function placing.group(state, record, addresses)
  local list, services = members(state, record, addresses), {}
  for i, member in ipairs(list) do
    local metadata = member.object.metadata
    services[i] = { namespace = member.namespace, name = member.name, labels = copy(metadata.labels),
      annotations = copy(metadata.annotations) }
  end
  return { addresses = { table.unpack(addresses) }, services = services, place = place_of(list[1]) }
end

--- Whether two objects of a Node are the same to a policy that ranks nodes.
function placing.is_same_node(a, b)
  local function gist(object)
    local spec, parts = type(object.spec) == "table" and object.spec or EMPTY, {}
    for name, value in pairs(object.metadata.labels or EMPTY) do parts[#parts + 1] = name .. "=" .. tostring(value) end
    for _, taint in ipairs(type(spec.taints) == "table" and spec.taints or EMPTY) do
      parts[#parts + 1] = ("taint %s=%s:%s"):format(taint.key, tostring(taint.value), tostring(taint.effect))
    end
    table.sort(parts)
    parts[#parts + 1] = tostring(spec.unschedulable == true)
    return table.concat(parts, "\n")
  end
  return gist(a) == gist(b)
end

return placing
