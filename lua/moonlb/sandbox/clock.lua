--- Times as Kubernetes writes them: RFC 3339 in UTC.
-- @module moonlb.sandbox.clock
local clock = {}

--- Seconds since 1970 of a time's first 19 characters; zone and fraction are not looked at.
-- @tparam string text  `2026-11-22T10:00:00...`
-- @treturn integer  or nil when it is no time
function clock.seconds(text)
  local y, mo, d, h, mi, s = tostring(text):match("^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):(%d%d):(%d%d)")
  if not y then
    return nil
  end
  y, mo, d, h, mi, s = tonumber(y), tonumber(mo), tonumber(d), tonumber(h), tonumber(mi), tonumber(s)
  if mo < 1 or mo > 12 or d < 1 or d > 31 or h > 23 or mi > 59 or s > 60 then
    return nil
  end
  -- Days from 1970 by the Gregorian calendar, years starting in March.
  y = mo <= 2 and y - 1 or y
  local day_of_year = (153 * (mo + (mo > 2 and -3 or 9)) + 2) // 5 + d - 1
  local days = y * 365 + y // 4 - y // 100 + y // 400 + day_of_year - 719468
  return days * 86400 + h * 3600 + mi * 60 + s
end

--- A time in whole seconds, `2026-11-22T10:00:00Z`.
-- @tparam integer seconds  since 1970
function clock.text(seconds)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", seconds)
end

return clock
