--- Values for people: tables of rows aligned, records as names and values, everything cut with a count of what is left
-- out. Calls nothing of the value's own: what a person's metatable does is not ours to run here.
-- @module moonlb.control.repl.show
local cjson = require("cjson")
local collection = require("moonlb.control.repl.collection")
local json = require("moonlb.json")
local printable = require("moonlb.printable")
local tables = require("moonlb.cli.table")

local show = {}

show.ROWS, show.ITEMS = 40, 8
local DEPTH, CELL, LONGEST = 3, 60, 200
local LONGEST_SHOWN = 16 << 10 -- bytes of a text of its own at a terminal

-- Fields that tell what a row is about: the last ones to be cut.
local KEYS = { name = true, namespace = true, key = true, address = true, addresses = true, state = true }

-- Fields that are times, in seconds since 1970.
local TIMES = { since = true, at = true, expires = true }
local FIRST_TIME, LAST_TIME = 1e9, 1e11

local cut = tables.cut

local function quoted(text)
  if #text <= LONGEST then return '"' .. printable.escape(text) .. '"' end
  local first = text:sub(1, LONGEST):gsub("[\xC2-\xF4][\x80-\xBF]*$", "")	-- no half of a character
  return ('"%s…" (%d bytes)'):format(printable.escape(first), #text)
end

local function by_name(a, b)
  local is_a, is_b = type(a) == "number", type(b) == "number"
  if is_a and is_b then return a < b end
  if is_a ~= is_b then return is_a end
  return tostring(a) < tostring(b)
end

-- The keys behind the array's part, sorted, at most `most` of them looked at beyond counting.
local function keys_of(value)
  local keys, length = {}, rawlen(value)
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then keys[#keys + 1] = key end
  end
  table.sort(keys, by_name)
  return keys, length
end

local function number(value)
  return math.type(value) == "float" and math.tointeger(value) and ("%d"):format(value) or tostring(value)
end

local inline

-- A field's time as people write it; nil when it is none.
local function time_of(name, value)
  if not TIMES[name] or type(value) ~= "number" or value < FIRST_TIME or value > LAST_TIME then return nil end
  return os.date("!%Y-%m-%d %H:%M:%S UTC", math.floor(value))
end

local function key_text(key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then return key end
  return "[" .. inline(key, DEPTH) .. "]"
end

local function inline_table(value, depth)
  local about = collection.of(value)
  if about then return about.what .. (about.prefix ~= "" and "." .. about.prefix:gsub("/", "") or "") end
  local keys, length = keys_of(value)
  if #keys == 0 and length == 0 then return "{}" end
  if depth >= DEPTH then return "{…}" end
  local parts = {}
  for i = 1, math.min(length, show.ITEMS) do parts[i] = inline(rawget(value, i), depth + 1) end
  local left = length - #parts
  for _, key in ipairs(keys) do
    if #parts >= show.ITEMS then left = left + 1
    else
      local item = rawget(value, key)
      parts[#parts + 1] = key_text(key) .. "=" .. (time_of(key, item) or inline(item, depth + 1))
    end
  end
  if left > 0 then parts[#parts + 1] = ("… %d more"):format(left) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

-- A value within another, on one line.
function inline(value, depth)
  if value == cjson.null then return "null" end
  local kind = type(value)
  if kind == "string" then return quoted(value) end
  if kind == "number" then return number(value) end
  if kind == "table" then return inline_table(value, depth) end
  if kind == "boolean" or kind == "nil" then return tostring(value) end
  return "(" .. kind .. ")"
end

-- In a cell: texts bare, arrays of plain values with commas. `name`: of the field that it is.
local function cell(value, name)
  local time = time_of(name, value)
  if time then return time end
  if value == nil or value == cjson.null then return "" end
  if type(value) == "string" then return printable.escape(value) end
  if type(value) ~= "table" or collection.of(value) then return inline(value, 0) end
  local keys, length = keys_of(value)
  if #keys > 0 then return inline(value, 1) end
  local parts = {}
  for i = 1, math.min(length, show.ITEMS) do
    local item = rawget(value, i)
    parts[i] = type(item) == "table" and inline(item, 1) or cell(item)
  end
  if length > #parts then parts[#parts + 1] = ("… %d more"):format(length - #parts) end
  return table.concat(parts, ", ")
end

-- The columns of rows: those that are known for the collection first, then scalar ones by name.
local function columns_of(rows, first)
  local columns, seen = {}, {}
  local function add(name)
    if seen[name] then return end
    seen[name] = true
    columns[#columns + 1] = name
  end
  for _, name in ipairs(first or {}) do add(name) end
  if first then return columns end
  local others = {}
  for _, row in ipairs(rows) do
    for key in next, row do
      if type(key) == "string" and not others[key] then
        others[key] = true
        others[#others + 1] = key
      end
    end
  end
  table.sort(others, by_name)
  for _, name in ipairs({ "name", "namespace", "key", "address" }) do
    if others[name] then add(name) end
  end
  for _, name in ipairs(others) do add(name) end
  return columns
end

local function is_row(value)
  return type(value) == "table" and not collection.of(value) and rawlen(value) == 0 and next(value) ~= nil
end

local function rows_lines(rows, total, first, options)
  local names, titles, cells = columns_of(rows, first), {}, {}
  for i, name in ipairs(names) do
    titles[i] = { title = name:upper(), is_right = name == "used" or name == "size", is_key = KEYS[name] }
  end
  for i = 1, math.min(#rows, options.rows or show.ROWS) do
    cells[i] = {}
    for j, name in ipairs(names) do
      cells[i][j] = cut(cell(rawget(rows[i], name), name), j == #names and 2 * CELL or CELL)
    end
  end
  if #cells == 0 then return { "(none)" } end
  local lines = tables.lines(titles, cells, options.paint, options.width)
  if total > #cells then lines[#lines + 1] = ("… and %d more"):format(total - #cells) end
  return lines
end

local function all_rows(value)
  local length = rawlen(value)
  if length == 0 or #keys_of(value) > 0 then return false end
  for i = 1, math.min(length, show.ROWS) do
    if not is_row(rawget(value, i)) then return false end
  end
  return true
end

-- A text that is cut says how long it is.
local function cut_value(value, text, most)
  if type(value) ~= "string" or utf8.len(text) <= most then return cut(text, most) end
  local count = (" (%d bytes)"):format(#value)
  return cut(text, math.max(1, most - #count)) .. count
end

local function record_lines(value, options)
  local keys, length = keys_of(value)
  local lines, widest, limit = {}, 0, options.rows or show.ROWS
  local most = math.min(options.width or math.huge, 2 * CELL)
  local nested = { paint = options.paint, rows = options.rows, width = options.width and options.width - 2 }
  for i = 1, math.min(length, limit) do lines[i] = cut(inline(rawget(value, i), 1), most) end
  for i = 1, math.min(#keys, limit) do widest = math.max(widest, utf8.len(cell(keys[i]))) end
  widest = math.min(40, widest, options.width and options.width // 2 or 40)
  if options.width then most = math.max(1, math.min(most, options.width - widest - 2)) end
  for i = 1, math.min(#keys, limit) do
    local name = cut(cell(keys[i]), widest)
    local padding = (" "):rep(widest - utf8.len(name))
    local item = rawget(value, keys[i])
    if type(item) == "table" and not collection.of(item) and all_rows(item) then
      lines[#lines + 1] = options.paint(name, "dim")
      for _, line in ipairs(rows_lines(item, rawlen(item), nil, nested)) do lines[#lines + 1] = "  " .. line end
    else
      local line = options.paint(name .. padding, "dim") .. "  " .. cut_value(item, cell(item, keys[i]), most)
      lines[#lines + 1] = line:gsub("%s+$", "")
    end
  end
  local left = math.max(0, length - limit) + math.max(0, #keys - limit)
  if left > 0 then lines[#lines + 1] = ("… and %d more"):format(left) end
  return #lines > 0 and lines or { "{}" }
end

-- A terminal gets the beginning of what is long; a pipe all of it.
local function lines_of(text, is_terminal)
  local lines, left = {}, 0
  if is_terminal and #text > LONGEST_SHOWN then
    left = #text - LONGEST_SHOWN
    text = text:sub(1, LONGEST_SHOWN)
  end
  for line in (printable.lines(text) .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  if left > 0 then lines[#lines + 1] = ("… and %d more bytes"):format(left) end
  return lines
end

-- Values that are read as a page: value -> function that writes it.
local pages = setmetatable({}, { __mode = "k" })

--- Have a table shown as a page of text; it stays the table that it is.
-- @tparam table value
-- @tparam function write  `write(value) -> text`
-- @treturn table  the value
function show.as_page(value, write)
  pages[value] = write
  return value
end

--- @param value  anything
-- @tparam table options  `paint` (of `moonlb.cli.table`), `rows` (how many are shown), `width` (of the terminal, which
-- it has to fit; nil: there is none)
-- @treturn table  lines
function show.lines(value, options)
  if value == cjson.null then value = nil end
  if pages[value] then
    local ok, text = pcall(pages[value], value)	-- who typed may have changed it
    if ok then return lines_of(text) end
  end
  local about = collection.of(value)
  if about then
    local rows, total = collection.rows(value, options.rows or show.ROWS)
    return rows_lines(rows, total, collection.COLUMNS[about.what], options)
  end
  if type(value) == "string" then return lines_of(value, options.width ~= nil) end
  if type(value) ~= "table" then return { inline(value, 0) } end
  if all_rows(value) then return rows_lines(value, rawlen(value), nil, options) end
  local items, total = rawget(value, "items"), rawget(value, "total")
  if type(items) == "table" and type(total) == "number" and (#items == 0 or all_rows(items)) then
    return rows_lines(items, math.floor(total), nil, options)
  end
  return record_lines(value, options)
end

--- A value on one line.
function show.inline(value)
  return inline(value, 0)
end

local plain

-- Whether all keys are of the array's part.
local function is_array(value)
  local mark = json.kind(value)
  if mark then return mark == "array" end
  local length = rawlen(value)
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then return false end
  end
  return length > 0
end

local function plain_array(value, depth)
  local list = json.array()
  for i = 1, rawlen(value) do
    local item = rawget(value, i)
    if item == nil then item = json.null end
    list[i] = plain(item, depth + 1)
  end
  return list
end

local function plain_object(value, depth)
  local object = json.object()
  for key, item in next, value do
    if type(key) == "table" or type(key) == "function" then error(("a %s is no JSON key"):format(type(key)), 0) end
    local name = printable.utf8(type(key) == "number" and number(key) or tostring(key))
    if object[name] ~= nil then error(("JSON has one key %q only"):format(name), 0) end
    object[name] = plain(item, depth + 1)
  end
  return object
end

function plain(value, depth)
  local kind = type(value)
  if value == nil or value == json.null or kind == "boolean" then return value end
  if kind == "string" then return printable.utf8(value) end
  if kind == "number" then return math.tointeger(value) or value end
  if kind ~= "table" then error(("a %s is no JSON value"):format(kind), 0) end
  if depth > 32 then error("too deep for JSON", 0) end
  if collection.of(value) then
    local list = json.array()
    for _, row in pairs(value) do list[#list + 1] = row end
    value = list
  end
  return is_array(value) and plain_array(value, depth) or plain_object(value, depth)
end

--- What of a value JSON can say; a collection is read whole. Text that is no UTF-8 gets U+FFFD for its bytes; a table
-- with an array's part and other keys is an object.
-- @return for `moonlb.json`; raises for what JSON cannot say
function show.plain(value)
  return plain(value, 0)
end

return show
