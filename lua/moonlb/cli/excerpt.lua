--- The source line that a message speaks of, for authors of policies. Pure.
-- @module moonlb.cli.excerpt
local excerpt = {}

--- @tparam string path  of the file, as the message has it
-- @tparam string text  of the file
-- @tparam string message  that may hold `path:LINE:`
-- @treturn string|nil  `"   12 | the line"`; nil when no line of the file is spoken of
function excerpt.of(path, text, message)
  local _, at = message:find(path .. ":", 1, true)
  local number = at and tonumber(message:match("^(%d+)", at + 1))
  local line = 0
  for content in (number and text or ""):gmatch("([^\n]*)\n?") do
    line = line + 1
    if line == number then return ("%5d | %s"):format(number, (content:gsub("\r$", ""))) end
  end
  return nil
end

return excerpt
