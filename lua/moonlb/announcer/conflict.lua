--- Annotation `moonlb.io/conflict`: how the announcer tells the allocator, and people, which addresses strangers hold.
-- `"<address> <mac> <interface> <node> <until, RFC 3339 UTC>[, ...]"`. Pure.
-- @module moonlb.announcer.conflict
local conflict = {}

--- The annotation's name.
conflict.ANNOTATION = "moonlb.io/conflict"

local FORMAT = "!%Y-%m-%dT%H:%M:%SZ"

--- @tparam table entries  array of `{address=, mac=, interface=, node=, expires=seconds since 1970}`
-- @treturn string|nil  nil when there is none
function conflict.format(entries)
  local parts = {}
  for i, entry in ipairs(entries) do
    parts[i] = ("%s %s %s %s %s"):format(entry.address, entry.mac, entry.interface, entry.node,
      os.date(FORMAT, math.floor(entry.expires)))
  end
  return parts[1] and table.concat(parts, ", ") or nil
end

-- Days since 1970 of a Gregorian date; os.time would read it in the local zone.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
end

local function seconds(text)
  local year, month, day, hour, minute, second = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)Z$")
  if not year then return nil end
  local function int(digits) return math.tointeger(tonumber(digits)) end
  return days(int(year), int(month), int(day)) * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second)
end

--- What format() made. Entries that are no such thing are left out: anybody may write the annotation.
-- @treturn table  array of entries
function conflict.parse(text)
  local entries = {}
  for part in (text or ""):gmatch("[^,]+") do
    local address, mac, interface, node, expires = part:match("^%s*(%S+) (%S+) (%S+) (%S+) (%S+)%s*$")
    expires = expires and seconds(expires)
    if expires then
      entries[#entries + 1] = { address = address, mac = mac, interface = interface, node = node, expires = expires }
    end
  end
  return entries
end

return conflict
