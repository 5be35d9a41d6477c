--- Text for the status page. Names and messages come from users: nothing enters the page but through `escape`.
-- @module moonlb.status.text
local timestamp = require("moonlb.kube.timestamp")

local text = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["\""] = "&quot;", ["'"] = "&#39;" }

-- Longest value that is shown, in bytes.
local LONGEST = 400

-- At most so many bytes, cut between characters.
local function cut(value)
  if #value <= LONGEST then return value end
  local last = LONGEST
  while last > 1 and value:byte(last + 1) & 0xC0 == 0x80 do last = last - 1 end
  return value:sub(1, last) .. "…"
end

--- A value as the text of an element or of a quoted attribute: no markup, no control characters, UTF-8, bounded.
-- @param value  a string or a number; anything else is shown as nothing
-- @treturn string
function text.escape(value)
  if type(value) == "number" then value = tostring(math.tointeger(value) or value) end
  if type(value) ~= "string" then return "" end
  value = cut(value)
  if not utf8.len(value) then value = value:gsub("[\128-\255]", "?") end
  return (value:gsub("[%c\127]", " "):gsub("[&<>\"']", ENTITIES))
end

--- A value inside the query of an address (RFC 3986 section 2.1); safe in an attribute as it is.
function text.query(value)
  return (value:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local UNITS = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } }

--- A number of seconds for people: `"3 h"`. Below zero, since clocks differ, it is `"0 s"`.
function text.duration(seconds)
  for _, unit in ipairs(UNITS) do
    if seconds >= unit[1] then return ("%d %s"):format(seconds // unit[1], unit[2]) end
  end
  return "0 s"
end

--- A moment as an element that says how long ago it was.
-- @tparam number|nil at  seconds since 1970
-- @tparam number|nil now  the same; nil: the text is the time itself, which the page's script makes an age of. A row
-- that is compared with what was sent before must not change by time alone
-- @treturn string  HTML
function text.age(at, now)
  if not at then return "" end
  local stamp = timestamp.format(at)
  local shown = now and text.duration(now - math.floor(at)) or stamp
  return ("<time datetime=\"%s\" title=\"%s\">%s</time>"):format(stamp, stamp, shown)
end

return text
