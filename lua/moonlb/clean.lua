--- Text that others wrote, made fit for a log line, an Event or a terminal. Pure.
-- @module moonlb.clean
local printable = require("moonlb.printable")

local clean = {}

-- Where a character ends, at most this many bytes in.
local function cut(text, most)
  for last = most, most - 3, -1 do
    local next_byte = text:byte(last + 1)
    if not next_byte or next_byte < 0x80 or next_byte > 0xbf then return text:sub(1, last) end
  end
  return text:sub(1, most)
end

local function question_mark() return "?" end

--- One line of valid UTF-8: a space for each control character and line separator, "?" for each byte that is of no
-- character.
-- @tparam string text
-- @tparam integer most  bytes; cut between two characters
-- @tparam[opt] string ending  what a text that was cut ends with, `most` included
-- @treturn string
function clean.line(text, most, ending)
  ending = ending or ""
  local result = #text > most and cut(text, most - #ending) .. ending or text
  if not result:find("[%c\128-\255]") then return result end
  result = printable.repair(result, question_mark)
  return (result:gsub("%c", " "):gsub("\194[\128-\159]", " "):gsub("\226\128[\168\169]", " "))
end

return clean
