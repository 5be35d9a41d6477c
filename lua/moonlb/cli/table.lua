--- Tables for people: aligned columns, colours where there is a terminal.
-- @module moonlb.cli.table
local printable = require("moonlb.printable")
local uv = require("luv")

local tables = {}

local CODES = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", magenta = "35", cyan = "36" }

--- Whether standard output wants colours: a terminal, and NO_COLOR (no-color.org) is not set.
function tables.wants_colour()
  local no_colour = os.getenv("NO_COLOR")
  return uv.guess_handle(1) == "tty" and (no_colour == nil or no_colour == "")
end

--- A painter: `paint(text, colour)`; without colours it returns the text.
function tables.painter(has_colour)
  return function(text, colour)
    if not has_colour or not CODES[colour] then return text end
    return ("\27[%sm%s\27[0m"):format(CODES[colour], text)
  end
end

local function width(text)
  return utf8.len(text) or #text
end

local function pad(text, columns, is_right)
  local space = (" "):rep(columns - width(text))
  return is_right and space .. text or text .. space
end

--- @tparam table columns  array of `{title=, is_right=}`; a column without any text is left out
-- @tparam table rows  array of arrays of text, in which `colour` paints a row's cells: `{[column] = colour}`
-- @tparam func paint  from `tables.painter`
-- @treturn table  lines
function tables.lines(columns, rows, paint)
  local widths, is_used, shown = {}, {}, {}
  for _, row in ipairs(rows) do
    shown[row] = {}
    for i in ipairs(columns) do shown[row][i] = printable.escape(row[i] or "") end
  end
  for i, column in ipairs(columns) do
    widths[i] = width(column.title)
    for _, row in ipairs(rows) do
      local cell = shown[row][i]
      widths[i] = math.max(widths[i], width(cell))
      is_used[i] = is_used[i] or cell ~= ""
    end
  end
  local function line(cell_of)
    local parts = {}
    for i in ipairs(columns) do
      if is_used[i] then parts[#parts + 1] = cell_of(i) end
    end
    return (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  local lines = { line(function(i) return paint(pad(columns[i].title, widths[i], columns[i].is_right), "dim") end) }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = line(function(i)
      local cell = pad(shown[row][i], widths[i], columns[i].is_right)
      return row.colour and row.colour[i] and paint(cell, row.colour[i]) or cell
    end)
  end
  return lines
end

return tables
