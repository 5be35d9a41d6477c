--- Text from elsewhere (names, annotations, answers of devices) for a terminal: it must neither steer it nor turn
-- around what is read.
-- @module moonlb.printable
local printable = {}

-- In UTF-8: C1 controls (U+0080 to U+009F, ECMA-48: U+009B is ESC [ to a terminal), and what changes the direction
-- of the text (U+202A to U+202E, U+2066 to U+2069; UAX #9).
local STEERING = { "\xC2[\x80-\x9F]", "\xE2\x80[\xAA-\xAE]", "\xE2\x81[\xA6-\xA9]" }

local NAMES = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

--- Replace the bytes that are no UTF-8 (RFC 3629).
-- @tparam string text
-- @tparam function replace  `replace(byte) -> text`
-- @treturn string
function printable.repair(text, replace)
  local parts, at = {}, 1
  while true do
    local ok, bad = utf8.len(text, at)
    if ok then break end
    parts[#parts + 1] = text:sub(at, bad - 1) .. replace(text:sub(bad, bad))
    at = bad + 1
  end
  return table.concat(parts) .. text:sub(at)
end

local function replace_steering(text, form)
  for _, pattern in ipairs(STEERING) do
    text = text:gsub(pattern, function(char) return form:format(utf8.codepoint(char)) end)
  end
  return text
end

local function of_byte(byte) return ("\\x%02x"):format(byte:byte()) end

--- With escapes for what a terminal would act on, and for bytes that are no UTF-8: on one line, and UTF-8.
-- @tparam string text
-- @treturn string
function printable.escape(text)
  if not text:find("[^ -~]") then return text end
  text = printable.repair(text, of_byte)
  text = text:gsub("[\0-\31\127]", function(char) return NAMES[char] or of_byte(char) end)
  return replace_steering(text, "\\u{%x}")
end

--- The same for a text of several lines, which it keeps, and their tabs.
function printable.lines(text)
  return (text:gsub("[^\t\n]+", printable.escape))
end

--- UTF-8, with U+FFFD for each byte that is none.
function printable.utf8(text)
  if not text:find("[\x80-\xFF]") then return text end
  return printable.repair(text, function() return "\u{FFFD}" end)
end

--- Written JSON (RFC 8259) with escapes for what a terminal would act on; it means the same.
function printable.json(text)
  return replace_steering(text, "\\u%04x")
end

return printable
