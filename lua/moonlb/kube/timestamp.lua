--- Times of the Kubernetes API: RFC 3339, UTC. Days are counted from the civil calendar, so that no time zone of this
-- machine takes part.
-- @module moonlb.kube.timestamp
local timestamp = {}

--- Seconds since 1970 of a time; fractions of a second are dropped.
-- @param value  `"2026-01-31T12:00:00Z"`
-- @treturn integer|nil  nil when it is no such text
function timestamp.seconds(value)
  if type(value) ~= "string" then return nil end
  local parts = { value:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt](%d%d):(%d%d):(%d%d)%.?%d*[Zz]$") }
  if not parts[1] then return nil end
  for i = 1, 6 do parts[i] = math.tointeger(tonumber(parts[i])) end
  local year, month, day, hour, minute, second = table.unpack(parts)
  if month <= 2 then year, month = year - 1, month + 12 end
  local days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
  return ((days * 24 + hour) * 60 + minute) * 60 + second
end

--- The text of a time.
-- @tparam number seconds  since 1970
-- @treturn string
function timestamp.format(seconds)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds))
end

return timestamp
