--- Which ports of a Service are to be opened on the router, and which port outside each gets. Pure.
-- @module moonlb.announcer.upnp.wanted
local wanted = {}

--- kube-vip's annotation: `"true"` or `"false"`; ours: `"443=8443, dns/UDP=53"`, or a number where there is one port.
wanted.FORWARD = "kube-vip.io/forwardUPNP"
wanted.PORTS = "moonlb.io/upnp-ports"

local PREFIX = "moonlb "
local PROTOCOLS = { TCP = true, UDP = true }

--- What the settings ask for: `enableUPNP` every Service that does not say no, `--upnp` (`enable_upnp`) those that
-- say yes.
-- @treturn string|nil  `"all"`, `"annotated"`; nil: none
function wanted.mode(settings)
  if settings.upnp_all then return "all" end
  return settings.upnp and "annotated" or nil
end

local function annotations_of(service)
  return type(service.metadata.annotations) == "table" and service.metadata.annotations or {}
end

--- Is the Service to be reachable from beyond the router?
function wanted.is_on(service, mode)
  local said = annotations_of(service)[wanted.FORWARD]
  if mode == "all" then return said ~= "false" end
  return mode == "annotated" and said == "true"
end

local function port_number(text)
  local number = text and math.tointeger(tonumber(text:match("^%d+$")))
  return number and number >= 1 and number <= 65535 and number or nil
end

-- One item, `PORT[/PROTOCOL]=OUTSIDE`, PORT being a number or the name of a port. The ports that it means.
local function matching(ports, name, protocol)
  local found = {}
  for _, port in ipairs(ports) do
    if (port.name == name or tostring(port.port) == name) and (not protocol or port.protocol == protocol) then
      found[#found + 1] = port
    end
  end
  return found
end

local function apply_item(ports, item)
  local single = port_number(item)
  local name, protocol, outside = item:match("^([%w%-]+)/?(%u*)%s*=%s*(%d+)$")
  local number = single or port_number(outside)
  local found = single and #ports == 1 and ports or name and matching(ports, name, protocol ~= "" and protocol or nil)
  if not number or not found or not found[1] then
    return ("%s: %q is not of the form PORT[/TCP|/UDP]=OUTSIDE with a port of this Service"):format(wanted.PORTS, item)
  end
  for _, port in ipairs(found) do port.external_port = number end
  return nil
end

--- The ports of a Service that are to be opened.
-- @tparam table service  the object
-- @tparam string|nil mode  see mode()
-- @treturn table  array of `{protocol="TCP"|"UDP", port=, external_port=}`; empty when it is not wanted
-- @treturn table  what cannot be done, as text
function wanted.of(service, mode)
  local ports, problems = {}, {}
  local is_wanted = service.spec and service.spec.type == "LoadBalancer" and not service.metadata.deletionTimestamp
  if not is_wanted or not wanted.is_on(service, mode) then return ports, problems end
  for _, port in ipairs(type(service.spec.ports) == "table" and service.spec.ports or {}) do
    local protocol, number = port.protocol or "TCP", math.tointeger(port.port)
    if PROTOCOLS[protocol] and number then
      ports[#ports + 1] = { protocol = protocol, port = number, external_port = number, name = port.name }
    else
      problems[#problems + 1] = ("port %s/%s: a router maps TCP and UDP alone"):format(tostring(number), protocol)
    end
  end
  for item in (annotations_of(service)[wanted.PORTS] or ""):gmatch("[^,]+") do
    problems[#problems + 1] = apply_item(ports, (item:gsub("^%s+", ""):gsub("%s+$", "")))
  end
  return ports, problems
end

--- What a mapping of the Service is called on the router. By it we know ours again, after a crash too.
function wanted.description(uid)
  return PREFIX .. uid
end

--- The UID in a description of ours, or nil.
function wanted.uid_of(description)
  return description:match("^" .. PREFIX .. "(%S+)$")
end

return wanted
