--- The lease as the API remembers it, in the annotation `moonlb.io/lease`: "ADDRESS SERVER SECONDS UTC", that is the
-- leased address, the server's (of DHCPv6: its DUID in hexadecimal), the lease's length ("infinite" for ever) and when
-- it began, by the owner's clock. Pure.
-- @module moonlb.announcer.dhcp.record
local address = require("moonlb.core.address")

local record = {}

--- The annotation.
record.ANNOTATION = "moonlb.io/lease"

-- Clocks of nodes differ a little; a lease that begins later than this is of no clock of ours.
local SKEW = 60
-- DHCP counts in 32 bits (RFC 2132 section 9.2).
local LONGEST = 4294967295
-- A DUID has 3 to 130 octets (RFC 8415 section 11.1); the text has an address and two numbers beside it.
local DUID_LEAST, DUID_MOST, TEXT_MOST = 6, 260, 400

--- The server of a lease as text.
-- @tparam table lease  as core.dhcp or core.dhcp6 has it
function record.server(lease)
  if not lease.address:find(":", 1, true) then return lease.server end
  return (lease.server:gsub(".", function(octet) return ("%02x"):format(octet:byte()) end))
end

--- @tparam table lease  as core.dhcp has it: `address`, `server`, `seconds`
-- @tparam number utc  when it began, seconds since 1970
function record.format(lease, utc)
  local seconds = lease.seconds == math.huge and "infinite" or ("%d"):format(lease.seconds // 1)
  return ("%s %s %s %d"):format(lease.address, record.server(lease), seconds, utc // 1)
end

-- The family of a text that is a host's address.
local function family_of(text)
  local canonical, family = address.canonical(text)
  return canonical == text and address.kind(text) == "unicast" and family or nil
end

local function read_server(text, family)
  if family == 4 then return family_of(text) == 4 and text or nil end
  if not text:match("^%x+$") or #text % 2 == 1 or #text < DUID_LEAST or #text > DUID_MOST then return nil end
  return (text:gsub("%x%x", function(octet) return string.char(tonumber(octet, 16)) end))
end

--- The parts of an annotation that makes sense.
-- @tparam string|nil text
-- @treturn table|nil  `{address=, family=, server=, seconds=, utc=}`
function record.parse(text)
  if type(text) ~= "string" or #text > TEXT_MOST then return nil end
  local ip, server, seconds, utc = text:match("^(%S+) (%S+) (%S+) (%d+)$")
  local family = ip and family_of(ip)
  server = family and read_server(server, family)
  if not server then return nil end
  local length = seconds == "infinite" and math.huge or math.tointeger(tonumber(seconds:match("^%d+$")))
  local began = math.tointeger(tonumber(utc))
  if not length or not began or length == 0 or (length ~= math.huge and length > LONGEST) then return nil end
  return { address = ip, family = family, server = server, seconds = length, utc = began }
end

--- The lease that an annotation speaks of, if it may still be used: its beginning is not in the future, its end is.
-- @tparam string|nil text  the annotation
-- @tparam number family  that it must have
-- @tparam number wall  seconds since 1970
-- @tparam number boot  the same moment in seconds of CLOCK_BOOTTIME
-- @treturn table|nil  `{address=, server=, seconds=, at=}`, `at` in seconds of CLOCK_BOOTTIME
-- @treturn string|nil  the address, also where the lease is over: it may be asked for
function record.read(text, family, wall, boot)
  local it = record.parse(text)
  if not it or it.family ~= family then return nil, nil end
  local age = wall - it.utc
  if age < -SKEW or age >= it.seconds then return nil, it.address end
  return { address = it.address, server = it.server, seconds = it.seconds, at = boot - math.max(age, 0) }, it.address
end

return record
