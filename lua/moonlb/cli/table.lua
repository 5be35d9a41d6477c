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

--- How many columns the terminal has at standard output, now.
-- @treturn integer|nil  nil: it is none
function tables.terminal_width()
  if uv.guess_handle(1) ~= "tty" then return nil end
  local terminal = uv.new_tty(1, false)
  local columns = terminal and terminal:get_winsize()
  if terminal then terminal:close() end
  return columns and columns > 0 and columns or nil
end

--- Cut a text (UTF-8) to so many characters, the last of which is "…" then.
function tables.cut(text, most)
  if utf8.len(text) <= most then return text end
  return text:sub(1, utf8.offset(text, math.max(1, most)) - 1) .. "…"
end

local NARROWEST, GAP = 5, 2

-- The widest column that may become narrower; those that say what a row is about only where no other can.
local function widest_of(widths, columns, is_used)
  local at
  for i, column in ipairs(columns) do
    if is_used[i] and widths[i] > NARROWEST and (not at or (columns[at].is_key or false) == (column.is_key or false)
        and widths[i] > widths[at] or columns[at].is_key and not column.is_key) then
      at = i
    end
  end
  return at
end

-- Take room from columns until a line fits.
local function squeeze(widths, columns, is_used, most)
  local sum = -GAP
  for i in ipairs(columns) do sum = sum + (is_used[i] and widths[i] + GAP or 0) end
  while sum > most do
    local at = widest_of(widths, columns, is_used)
    if not at then return end
    widths[at], sum = widths[at] - 1, sum - 1
  end
end

local function width(text)
  return utf8.len(text) or #text
end

local function pad(text, columns, is_right)
  local space = (" "):rep(columns - width(text))
  return is_right and space .. text or text .. space
end

--- @tparam table columns  array of `{title=, is_right=, is_key=}`; a column without any text is left out
-- @tparam table rows  array of arrays of text, in which `colour` paints a row's cells: `{[column] = colour}`
-- @tparam func paint  from `tables.painter`
-- @tparam[opt] integer most  columns that a line may have: cells are cut
-- @treturn table  lines
function tables.lines(columns, rows, paint, most)
  local widths, is_used, shown, titles = {}, {}, {}, {}
  for _, row in ipairs(rows) do
    shown[row] = {}
    for i in ipairs(columns) do shown[row][i] = printable.escape(row[i] or "") end
  end
  for i, column in ipairs(columns) do
    titles[i] = printable.escape(column.title)
    widths[i] = width(titles[i])
    for _, row in ipairs(rows) do
      local cell = shown[row][i]
      widths[i] = math.max(widths[i], width(cell))
      is_used[i] = is_used[i] or cell ~= ""
    end
  end
  if most then squeeze(widths, columns, is_used, most) end
  local function line(cell_of)
    local parts = {}
    for i in ipairs(columns) do
      if is_used[i] then parts[#parts + 1] = cell_of(i) end
    end
    return (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  local function fit(text, i) return pad(tables.cut(text, widths[i]), widths[i], columns[i].is_right) end
  local lines = { line(function(i) return paint(fit(titles[i], i), "dim") end) }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = line(function(i)
      local cell = fit(shown[row][i], i)
      return row.colour and row.colour[i] and paint(cell, row.colour[i]) or cell
    end)
  end
  return lines
end

return tables
