--- A gateway that speaks UPnP, in our terms: map a port, take it back, see who has it (WANIPConnection:1 and :2,
-- WANPPPConnection:1, WANIPv6FirewallControl:1). What may wait runs in a task.
-- @module moonlb.announcer.upnp.igd
local address = require("moonlb.core.address")
local soap = require("moonlb.announcer.upnp.soap")

local igd = {}

local Igd = { __name = "moonlb.announcer.upnp.igd" }
Igd.__index = Igd

-- Error numbers that decide what is done next; core.upnp has the words for all of them.
igd.NO_ENTRY, igd.NO_SUCH_MAPPING, igd.CONFLICT, igd.PERMANENT_ONLY = 713, 714, 718, 725
-- A table longer than this is not ours to read to its end.
local MOST_ENTRIES = 2048
local PROTOCOL_NUMBER = { TCP = "6", UDP = "17" }

--- @tparam table options  `description` (of core.upnp.decode_description), `own` (the node's address), `soap`,
--   `router6() -> address|nil`: where the same router takes requests by IPv6
function igd.new(options)
  return setmetatable({ own = options.own, soap = options.soap, connections = options.description.connections,
    connection = options.description.connections[1], firewall = options.description.firewall, router6 = options.router6,
    is_permanent = false, pinholes = {} }, Igd)
end

--- What people are told that it is.
function Igd:name()
  return self.connection.type:match("service:(.*)$") or self.connection.type
end

--- May a mapping be asked for whose port the gateway chooses (AddAnyPortMapping, WANIPConnection:2)?
function Igd:can_choose()
  local version = self.connection.type:match("WANIPConnection:(%d+)$")
  return version ~= nil and version ~= "1"
end

function Igd:ask(action, arguments)
  return self.soap:call(self.connection, self.own, action, arguments or {})
end

local function canonical(text)
  return text and address.canonical(text) or nil
end

--- How the gateway is. Of two connections, the one that is connected is used from then on.
-- @treturn table  `{is_connected=, status=text, uptime=seconds|nil, outside=address|nil}`; or nil, message, code
function Igd:status()
  local chosen, message, code
  for _, connection in ipairs(self.connections) do
    local values
    values, message, code = self.soap:call(connection, self.own, "GetStatusInfo", {})
    if values and (not chosen or values.NewConnectionStatus == "Connected" and not chosen.is_connected) then
      chosen = { is_connected = values.NewConnectionStatus == "Connected", status = values.NewConnectionStatus or "",
        uptime = math.tointeger(tonumber(values.NewUptime)) }
      self.connection = connection
    end
  end
  if not chosen then return nil, message, code end
  local values = self:ask("GetExternalIPAddress")
  chosen.outside = values and canonical(values.NewExternalIPAddress)
  return chosen
end

local function mapping_arguments(m, external_port, lease)
  return { { "NewRemoteHost", "" }, { "NewExternalPort", tostring(external_port) }, { "NewProtocol", m.protocol },
    { "NewInternalPort", tostring(m.port) }, { "NewInternalClient", m.address }, { "NewEnabled", "1" },
    { "NewPortMappingDescription", m.description }, { "NewLeaseDuration", tostring(lease) } }
end

local function port_of(text)
  local number = math.tointeger(tonumber(text))
  return number and number >= 1 and number <= 65535 and number or nil
end

local function pinhole_key(m)
  return ("%s %s %d"):format(m.address, m.protocol, m.port)
end

-- The firewall's service, by IPv6: a pinhole is given to who asks, and an IPv6 address asks by IPv6.
function Igd:ask_firewall(m, action, arguments)
  local host = self.router6()
  if not self.firewall or not host then
    return nil, self.firewall and "the router has no IPv6 address that this node routes to"
      or "the gateway opens no pinholes for IPv6", "ENOTSUP"
  end
  local service = { type = self.firewall.type, host = host, port = self.firewall.port, path = self.firewall.path }
  return self.soap:call(service, m.address, action, arguments)
end

-- AddPinhole, or UpdatePinhole while it is known (WANIPv6FirewallControl:1 sections 2.4.3, 2.4.4).
function Igd:add_pinhole(m, lease)
  local key = pinhole_key(m)
  local known = self.pinholes[key]
  if known and self:ask_firewall(m, "UpdatePinhole",
      { { "UniqueID", known }, { "NewLeaseTime", tostring(lease) } }) then
    return { external_port = m.port, lease = lease }
  end
  local values, message, code, number = self:ask_firewall(m, "AddPinhole",
    { { "RemoteHost", "" }, { "RemotePort", "0" }, { "InternalClient", m.address },
      { "InternalPort", tostring(m.port) }, { "Protocol", PROTOCOL_NUMBER[m.protocol] },
      { "LeaseTime", tostring(lease) } })
  if not values then return nil, message, code, number end
  self.pinholes[key] = values.UniqueID
  return { external_port = m.port, lease = lease }
end

--- Map a port, or renew it: the same request again (WANIPConnection:1 section 2.4.16). It leaves from the address that
-- it points to.
-- @tparam table m  `address`, `family`, `protocol`, `port`, `description`
-- @tparam number external_port
-- @tparam number lease  seconds
-- @treturn table  `{external_port=, lease=seconds (0: for ever)}`; or nil, message, code, number
function Igd:add(m, external_port, lease)
  if m.family == 6 then return self:add_pinhole(m, math.min(lease, 86400)) end
  if self.is_permanent then lease = 0 end
  local values, message, code, number = self.soap:call(self.connection, m.address, "AddPortMapping",
    mapping_arguments(m, external_port, lease))
  if values then return { external_port = external_port, lease = lease } end
  if number == igd.PERMANENT_ONLY and not self.is_permanent then
    self.is_permanent = true
    return self:add(m, external_port, lease)
  end
  return nil, message, code, number
end

--- Let the gateway choose the port outside, `external_port` if it can (WANIPConnection:2 section 2.5.20).
function Igd:add_any(m, external_port, lease)
  local values, message, code, number = self.soap:call(self.connection, m.address, "AddAnyPortMapping",
    mapping_arguments(m, external_port, self.is_permanent and 0 or lease))
  if not values then return nil, message, code, number end
  local given = port_of(values.NewReservedPort)
  if not given then return nil, "AddAnyPortMapping: the gateway did not say which port it gave", "EPROTO" end
  return { external_port = given, lease = self.is_permanent and 0 or lease }
end

--- Take a mapping back; that it is gone already is no failure.
-- @treturn boolean  true; or nil, message, code, number
function Igd:remove(m, external_port)
  local values, message, code, number
  if m.family == 6 then
    local id = self.pinholes[pinhole_key(m)]
    if not id then return true end
    self.pinholes[pinhole_key(m)] = nil
    values, message, code, number = self:ask_firewall(m, "DeletePinhole", { { "UniqueID", id } })
    return values and true or number == 704 or nil, message, code, number
  end
  values, message, code, number = self.soap:call(self.connection, m.address, "DeletePortMapping",
    { { "NewRemoteHost", "" }, { "NewExternalPort", tostring(external_port) }, { "NewProtocol", m.protocol } })
  if values or number == igd.NO_SUCH_MAPPING then return true end
  return nil, message, code, number
end

local function entry_of(values, external_port, protocol)
  return { external_port = external_port, protocol = protocol, address = canonical(values.NewInternalClient),
    port = port_of(values.NewInternalPort), description = values.NewPortMappingDescription or "",
    lease = math.tointeger(tonumber(values.NewLeaseDuration)) or 0 }
end

--- Who has a port (GetSpecificPortMappingEntry)?
-- @treturn table|nil  `{external_port=, protocol=, address=, port=, description=, lease=}`; or nil, message,
--   code, number
function Igd:find(external_port, protocol)
  local values, message, code, number = self:ask("GetSpecificPortMappingEntry", { { "NewRemoteHost", "" },
    { "NewExternalPort", tostring(external_port) }, { "NewProtocol", protocol } })
  if not values then return nil, message, code, number end
  return entry_of(values, external_port, protocol)
end

--- The whole table, as far as the gateway shows it.
-- @treturn table  array of entries as find() has them; or nil, message, code when it broke off for another
--   reason than its end
function Igd:list()
  local entries = {}
  for index = 0, MOST_ENTRIES - 1 do
    local values, message, code = self:ask("GetGenericPortMappingEntry",
      { { "NewPortMappingIndex", tostring(index) } })
    if not values then
      -- Past the end: 713 by the standard, 714 or 402 by some. What is known is of use in any case.
      if code == soap.REFUSED or entries[1] then return entries end
      return nil, message, code
    end
    local port, protocol = port_of(values.NewExternalPort), values.NewProtocol
    if port and protocol then entries[#entries + 1] = entry_of(values, port, protocol) end
  end
  return entries
end

--- A gateway of UPnP tells that by its uptime and boot id: see `gateway`.
function Igd.was_restarted() return false end

--- The address leaves this node: nothing is asked from it any more.
function Igd:forget(source)
  self.soap:forget(source)
end

function Igd:close()
  self.soap:close()
end

return igd
