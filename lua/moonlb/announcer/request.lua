--- What a Service asks of the announcer: which addresses, decided by an allocator, and under which conditions. Pure.
-- @module moonlb.announcer.request
local address = require("moonlb.core.address")

local request = {}

local ASSIGNED = "moonlb.io/assigned"
local ADDRESSES = "kube-vip.io/loadbalancerIPs"
local INTERFACE = "kube-vip.io/serviceInterface"
local IGNORE = "kube-vip.io/ignore"

-- Addresses of a comma list: canonical, each once. Unspecified ones (DHCP) are another room's work.
local function parse(list)
  local addresses, seen = {}, {}
  for item in list:gmatch("[^,]+") do
    local ip = address.canonical((item:gsub("^%s+", ""):gsub("%s+$", "")))
    if ip and not seen[ip] and address.kind(ip) == "unicast" then
      seen[ip] = true
      addresses[#addresses + 1] = ip
    end
  end
  return addresses
end

-- Our allocator's word counts; without it kube-vip's, told by the label that it sets in the same write. A request
-- alone is not a decision: another Service may hold the address.
local function decided(annotations, labels)
  local assigned = annotations[ASSIGNED]
  if assigned then return assigned:match("^%S+") end
  if labels.implementation == "kube-vip" then return annotations[ADDRESSES] end
  return nil
end

--- @tparam table|nil service  the object
-- @treturn table|nil  `{addresses={...}, interface=|nil, is_local=}`; nil when nothing is to be announced for it
function request.of(service)
  local metadata, spec = service and service.metadata, service and service.spec
  if not spec or spec.type ~= "LoadBalancer" or metadata.deletionTimestamp then return nil end
  local annotations = type(metadata.annotations) == "table" and metadata.annotations or {}
  local labels = type(metadata.labels) == "table" and metadata.labels or {}
  if annotations[IGNORE] == "true" then return nil end
  local list = decided(annotations, labels)
  local addresses = list and parse(list) or {}
  if not addresses[1] then return nil end
  return { addresses = addresses, interface = annotations[INTERFACE],
    is_local = spec.externalTrafficPolicy == "Local" }
end

return request
