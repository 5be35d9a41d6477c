--- What `moonlb plan` found, for people and for programs.
-- @module moonlb.cli.plan_report
local json = require("moonlb.json")
local tables = require("moonlb.cli.table")

local report = {}

local COLOURS = { assign = "green", share = "green", static = "cyan", dhcp = "magenta", keep = "dim", ignore = "dim",
  pending = "red" }
local DONE = { assign = "assigned", share = "shared", static = "static", dhcp = "by DHCP", keep = "kept",
  ignore = "left alone", pending = "pending" }
local ORDER = { "assign", "share", "static", "dhcp", "keep", "ignore", "pending" }
local BAR = 20

local function or_null(value)
  if value == nil or value == "" then return json.null end
  return value
end

local function trace_of(decision)
  local trace = json.array()
  for i, entry in ipairs(decision.trace) do
    trace[i] = { rule = or_null(entry.rule), result = entry.result, reason = or_null(entry.reason) }
  end
  return trace
end

--- The JSON of a plan (design, section 7), indented, one object.
-- @tparam table result  of `moonlb.allocator.plan`
-- @treturn string
function report.json(result)
  local decisions, warnings = json.array(), json.array()
  for i, decision in ipairs(result.decisions) do
    decisions[i] = {
      namespace = decision.namespace, name = decision.name, action = decision.action,
      addresses = json.array(table.move(decision.addresses, 1, #decision.addresses, 1, {})),
      rule = or_null(decision.rule), pool = or_null(decision.pool), interface = or_null(decision.interface),
      reason = or_null(decision.reason), message = or_null(decision.message), trace = trace_of(decision),
    }
  end
  for i, warning in ipairs(result.warnings) do
    warnings[i] = { object = warning.object, key = warning.key, item = warning.item, message = warning.message }
  end
  return json.encode({ decisions = decisions, warnings = warnings }, "  ")
end

local function decision_row(decision)
  local is_given = decision.addresses[1] ~= nil
  local from = decision.pool or decision.rule or ""
  local why = is_given and not decision.refused and "" or decision.reason or decision.message
  return { decision.namespace, decision.name, decision.action, table.concat(decision.addresses, ", "),
    is_given and from or "", decision.interface or "", table.concat(decision.place or {}, ", "), why,
    colour = { [3] = COLOURS[decision.action], [4] = is_given and "bold" or nil,
      [8] = decision.action == "pending" and "yellow" or "dim" } }
end

local function decision_lines(decisions, paint)
  local rows = {}
  for i, decision in ipairs(decisions) do rows[i] = decision_row(decision) end
  return tables.lines({ { title = "NAMESPACE" }, { title = "NAME" }, { title = "ACTION" }, { title = "ADDRESSES" },
    { title = "FROM" }, { title = "INTERFACE" }, { title = "NODES" }, { title = "WHY" } }, rows, paint)
end

local function count_text(number)
  if number < 1e9 then return ("%d"):format(number) end
  return ("%.1e"):format(number)
end

-- How full: twenty marks and a figure.
local function bar(used, size)
  local marks = math.floor(used / size * BAR + 0.5)
  if used > 0 and marks == 0 then marks = 1 end
  return ("%s%s %3.0f %%"):format(("#"):rep(marks), ("."):rep(BAR - marks), used / size * 100)
end

local function fill_colour(used, size)
  return used >= size and "red" or used >= size * 0.9 and "yellow" or "green"
end

local function pool_rows(pool)
  local rows, keys = {}, table.concat(pool.keys, ", ")
  local note = pool.is_shared and "shared by ports" or ""
  if pool.is_dhcp then return { { pool.name, keys, "", "", "", "", "DHCP" } } end
  for i, family in ipairs(pool.families) do
    rows[i] = { i == 1 and pool.name or "", i == 1 and keys or "", family.family, count_text(family.used),
      count_text(family.size), bar(family.used, family.size), note,
      colour = { [6] = fill_colour(family.used, family.size) } }
  end
  if not rows[1] then rows[1] = { pool.name, keys, "", "0", "0", "", "no addresses", colour = { [7] = "yellow" } } end
  return rows
end

local function pool_lines(pools, paint)
  local rows = {}
  for _, pool in ipairs(pools) do
    local more = pool_rows(pool)
    table.move(more, 1, #more, #rows + 1, rows)
  end
  if not rows[1] then return {} end
  return tables.lines({ { title = "POOL" }, { title = "KEYS" }, { title = "FAMILY" },
    { title = "USED", is_right = true }, { title = "SIZE", is_right = true }, { title = "" }, { title = "" } },
    rows, paint)
end

local function excluded_lines(excluded, paint)
  if not excluded[1] then return {} end
  local rows = {}
  for i, entry in ipairs(excluded) do rows[i] = { entry.text, entry.reason } end
  return tables.lines({ { title = "EXCLUDED" }, { title = "WHY" } }, rows, paint)
end

local function summary(decisions, paint)
  local counts, parts = {}, {}
  for _, decision in ipairs(decisions) do counts[decision.action] = (counts[decision.action] or 0) + 1 end
  for _, action in ipairs(ORDER) do
    if counts[action] then
      parts[#parts + 1] = paint(("%d %s"):format(counts[action], DONE[action]), COLOURS[action])
    end
  end
  if not parts[1] then return "No Service of type LoadBalancer." end
  return ("%d Service%s: %s."):format(#decisions, #decisions == 1 and "" or "s", table.concat(parts, ", "))
end

local function warning_line(warning, paint)
  local where = { warning.object }
  if warning.key ~= "" then where[#where + 1] = warning.key end
  local is_named = warning.message:find(warning.item, 1, true)
  if warning.item ~= "" and not is_named then where[#where + 1] = ("%q"):format(warning.item) end
  local kind = warning.is_note and paint("note", "dim") or paint("warning", "yellow")
  return (("%s: %s: %s"):format(kind, table.concat(where, ", "), warning.message):gsub("\n", " "))
end

--- A plan as a page for people: decisions, pools with how full they are, what is excluded, the sum, warnings last.
-- @tparam table result  of `moonlb.allocator.plan`; `excerpt` of a warning: a source line to show below it
-- @tparam boolean has_colour
-- @treturn string
function report.text(result, has_colour)
  local paint = tables.painter(has_colour)
  local lines = {}
  local function block(more)
    if not more[1] then return end
    if lines[1] then lines[#lines + 1] = "" end
    table.move(more, 1, #more, #lines + 1, lines)
  end
  if result.decisions[1] then block(decision_lines(result.decisions, paint)) end
  block(pool_lines(result.engine:pools(), paint))
  block(excluded_lines(result.engine:excluded(), paint))
  block({ summary(result.decisions, paint) })
  local warnings = {}
  for _, warning in ipairs(result.warnings) do
    warnings[#warnings + 1] = warning_line(warning, paint)
    warnings[#warnings + 1] = warning.excerpt
  end
  block(warnings)
  return table.concat(lines, "\n")
end

return report
