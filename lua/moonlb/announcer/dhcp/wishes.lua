--- How a Service wants to be known to the DHCP server: kube-vip's annotations, or what is derived from the cluster's
-- identity, the namespace and the name, so that another node and a Service created again are the same client. Pure.
-- @module moonlb.announcer.dhcp.wishes
local address = require("moonlb.core.address")
local dhcp = require("moonlb.core.dhcp")
local dhcp6 = require("moonlb.core.dhcp6")

local wishes = {}

local PREFIX = "kube-vip.io/"
local FQDN = "moonlb.io/dhcp-fqdn"

--- The annotations that are looked at, in a fixed order.
wishes.ANNOTATIONS = { PREFIX .. "hwaddr", PREFIX .. "requestedIP", PREFIX .. "loadbalancerHostname",
  PREFIX .. "macvlanName", PREFIX .. "dhcp-broadcast", PREFIX .. "rp_filter", FQDN }

-- Names of interfaces have 15 octets (linux/if.h IFNAMSIZ); of hosts, as one option holds them, 253.
local NAME_MOST, HOST_MOST = 15, 253
-- Loose: what comes in by the macvlan may be answered by its parent (Documentation/networking/ip-sysctl, rp_filter).
local LOOSE = 2

local function read_mac(text)
  local mac = text:lower():gsub("-", ":")
  if not mac:match("^%x%x:%x%x:%x%x:%x%x:%x%x:%x%x$") or mac == "00:00:00:00:00:00" then return nil end
  return tonumber(mac:sub(2, 2), 16) & 1 == 0 and mac or nil
end

local function read_address(text)
  local canonical = address.canonical(text)
  return canonical and address.kind(canonical) == "unicast" and canonical or nil
end

local function read_host(text)
  return #text <= HOST_MOST and text:match("^%w[%w._-]+$")
end

local function read_name(text)
  return #text <= NAME_MOST and text ~= "." and text ~= ".." and text:match("^[%w._-]+$")
end

local function read_rp_filter(text)
  return text:match("^[012]$") and math.tointeger(tonumber(text))
end

local function read_boolean(text)
  if text == "true" then return { true } end
  return text == "false" and { false } or nil
end

local READERS = {
  { PREFIX .. "hwaddr", read_mac, "the MAC of a station, aa:bb:cc:dd:ee:ff" },
  { PREFIX .. "requestedIP", read_address, "an address of a host" },
  { PREFIX .. "loadbalancerHostname", read_host, "a host name of 2 to 253 letters, digits, dots and dashes" },
  { PREFIX .. "macvlanName", read_name, "a name of 1 to 15 letters, digits, dots and dashes" },
  { PREFIX .. "dhcp-broadcast", read_boolean, "true or false" },
  { PREFIX .. "rp_filter", read_rp_filter, "0, 1 or 2" },
  { FQDN, read_host, "a host name of 2 to 253 letters, digits, dots and dashes" },
}

-- name -> value of the annotations that make sense; what is wrong with the others.
local function read(annotations)
  local values, problems = {}, {}
  for _, reader in ipairs(READERS) do
    local name, parse, right = reader[1], reader[2], reader[3]
    local text = annotations[name]
    if type(text) == "string" and text ~= "" then
      values[name] = parse(text) or nil
      if values[name] == nil then
        problems[#problems + 1] = ("%s: %q is not %s; it is not heeded"):format(name, text:sub(1, 60), right)
      end
    end
  end
  return values, problems
end

--- @tparam string identity  of the cluster
-- @tparam table service  the object
-- @treturn table  `mac`, `client_id` (bytes), `duid` (bytes) and `iaid` (DHCPv6), `host_name`, `fqdn`, `requested` (or
--   nil), `broadcast`, `name` (of the macvlan), `rp_filter`
-- @treturn table  array of texts: annotations that make no sense, and what would
function wishes.of(identity, service)
  local metadata = service.metadata
  local values, problems = read(type(metadata.annotations) == "table" and metadata.annotations or {})
  local derived = dhcp.mac(identity, metadata.namespace, metadata.name)
  local host_name = values[PREFIX .. "loadbalancerHostname"]
  local broadcast = values[PREFIX .. "dhcp-broadcast"]
  return {
    mac = values[PREFIX .. "hwaddr"] or derived,
    client_id = host_name or dhcp.client_id(identity, metadata.namespace, metadata.name),
    duid = dhcp6.duid(identity, metadata.namespace, metadata.name),
    iaid = dhcp6.iaid(identity, metadata.namespace, metadata.name),
    host_name = host_name, fqdn = values[FQDN], requested = values[PREFIX .. "requestedIP"],
    broadcast = broadcast ~= nil and broadcast[1],
    name = values[PREFIX .. "macvlanName"] or "moonlb-" .. derived:gsub(":", ""):sub(-8),
    rp_filter = values[PREFIX .. "rp_filter"] or LOOSE,
  }, problems
end

--- The options of the client, of core.dhcp or core.dhcp6.
-- @tparam table wanted  of wishes.of
-- @tparam number family  4 or 6
-- @tparam number seed
-- @tparam table|nil lease  that is known
-- @tparam string|nil ip  an address to ask for, where no annotation says another
function wishes.client(wanted, family, seed, lease, ip)
  local asked = wanted.requested
  if asked and (asked:find(":", 1, true) and 6 or 4) ~= family then asked = nil end
  if family == 6 then
    return { mac = wanted.mac, duid = wanted.duid, iaid = wanted.iaid, seed = seed, requested = asked or ip,
      fqdn = wanted.fqdn or wanted.host_name, lease = lease }
  end
  return { mac = wanted.mac, client_id = wanted.client_id, seed = seed, host_name = wanted.host_name,
    fqdn = wanted.fqdn, broadcast = wanted.broadcast, requested = asked or ip, lease = lease }
end

--- All of the annotations that `of` looks at, as text: unless it changes, the client stays.
function wishes.signature(annotations)
  local parts = {}
  for i, name in ipairs(wishes.ANNOTATIONS) do parts[i] = tostring(annotations[name] or "") end
  return table.concat(parts, "|")
end

return wishes
