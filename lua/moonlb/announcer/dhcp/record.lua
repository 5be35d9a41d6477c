--- The lease as the API remembers it, in the annotation `moonlb.io/lease`: "ADDRESS SERVER SECONDS UTC", that is the
-- leased address, the server's, the lease's length ("infinite" for ever) and when it began, by the owner's clock. Pure.
-- @module moonlb.announcer.dhcp.record
local address = require("moonlb.core.address")

local record = {}

--- The annotation.
record.ANNOTATION = "moonlb.io/lease"

-- Clocks of nodes differ a little; a lease that begins later than this is of no clock of ours.
local SKEW = 60
-- DHCP counts in 32 bits (RFC 2132 section 9.2).
local LONGEST = 4294967295

--- @tparam table lease  as core.dhcp has it: `address`, `server`, `seconds`
-- @tparam number utc  when it began, seconds since 1970
function record.format(lease, utc)
  local seconds = lease.seconds == math.huge and "infinite" or ("%d"):format(lease.seconds // 1)
  return ("%s %s %s %d"):format(lease.address, lease.server, seconds, utc // 1)
end

local function is_host(text)
  local canonical, family = address.canonical(text)
  return canonical == text and family == 4 and address.kind(text) == "unicast"
end

--- The parts of an annotation that makes sense.
-- @tparam string|nil text
-- @treturn table|nil  `{address=, server=, seconds=, utc=}`
function record.parse(text)
  if type(text) ~= "string" or #text > 100 then return nil end
  local ip, server, seconds, utc = text:match("^(%S+) (%S+) (%S+) (%d+)$")
  if not ip or not is_host(ip) or not is_host(server) then return nil end
  local length = seconds == "infinite" and math.huge or math.tointeger(tonumber(seconds:match("^%d+$")))
  local began = math.tointeger(tonumber(utc))
  if not length or not began or length == 0 or (length ~= math.huge and length > LONGEST) then return nil end
  return { address = ip, server = server, seconds = length, utc = began }
end

--- The lease that an annotation speaks of, if it may still be used: its beginning is not in the future, its end is.
-- @tparam string|nil text  the annotation
-- @tparam number wall  seconds since 1970
-- @tparam number boot  the same moment in seconds of CLOCK_BOOTTIME
-- @treturn table|nil  `{address=, server=, seconds=, at=}`, `at` in seconds of CLOCK_BOOTTIME
-- @treturn string|nil  the address, also where the lease is over: it may be asked for
function record.read(text, wall, boot)
  local it = record.parse(text)
  if not it then return nil, nil end
  local age = wall - it.utc
  if age < -SKEW or age >= it.seconds then return nil, it.address end
  return { address = it.address, server = it.server, seconds = it.seconds, at = boot - math.max(age, 0) }, it.address
end

return record
