--- What a Service asks of the announcer: which addresses, decided by an allocator, and under which conditions. Pure.
-- @module moonlb.announcer.request
local address = require("moonlb.core.address")
local wishes = require("moonlb.announcer.dhcp.wishes")

local request = {}

local ASSIGNED = "moonlb.io/assigned"
local ADDRESSES = "kube-vip.io/loadbalancerIPs"
local INTERFACE = "kube-vip.io/serviceInterface"
local IGNORE = "kube-vip.io/ignore"

-- What stands for an address that the LAN's DHCP server gives, and its family.
local DHCP = { ["0.0.0.0"] = 4, ["::"] = 6 }

-- Addresses of a comma list: canonical, each once; and the family of the first that DHCP is to give.
local function parse(list)
  local addresses, seen, family = {}, {}, nil
  for item in list:gmatch("[^,]+") do
    local ip = address.canonical((item:gsub("^%s+", ""):gsub("%s+$", "")))
    family = family or DHCP[ip]
    if ip and not seen[ip] and address.kind(ip) == "unicast" then
      seen[ip] = true
      addresses[#addresses + 1] = ip
    end
  end
  return addresses, family
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
-- @treturn table|nil  `{addresses={...}, interface=|nil, is_local=, is_dhcp=, family=|nil, wishes=|nil}`; nil when
--   nothing is to be announced for it. With `is_dhcp` there are no addresses; `family` is that of the address that DHCP
--   is to give, and `wishes` all that the client looks at, as text
function request.of(service)
  local metadata, spec = service and service.metadata, service and service.spec
  if not spec or spec.type ~= "LoadBalancer" or metadata.deletionTimestamp then return nil end
  local annotations = type(metadata.annotations) == "table" and metadata.annotations or {}
  local labels = type(metadata.labels) == "table" and metadata.labels or {}
  if annotations[IGNORE] == "true" then return nil end
  local list = decided(annotations, labels)
  local addresses, family = parse(list or "")
  local is_dhcp = family ~= nil
  if not addresses[1] and not is_dhcp then return nil end
  return { addresses = is_dhcp and {} or addresses, interface = annotations[INTERFACE], is_dhcp = is_dhcp,
    family = family, wishes = is_dhcp and family .. wishes.signature(annotations) or nil,
    is_local = spec.externalTrafficPolicy == "Local" }
end

return request
