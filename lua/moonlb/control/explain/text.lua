--- A report of `explain` as a page for people.
-- @module moonlb.control.explain.text
local ago = require("moonlb.control.explain.ago")
local printable = require("moonlb.printable")
local tables = require("moonlb.cli.table")

local text = {}

local function line_of(value)
  return printable.escape(tostring(value))
end

local function row(rows, name, value, ...)
  if value == nil or value == "" then return end
  rows[#rows + 1] = { name, line_of(select("#", ...) > 0 and value:format(...) or value) }
end

local function owner_of(report)
  local owner = report.owner
  if not owner then return nil end
  local notes = { ("term %d"):format(owner.term or 0) }
  if owner.is_here then notes[#notes + 1] = "this node" end
  if owner.is_alive == false then notes[#notes + 1] = "not heard" end
  return ("%s (%s)"):format(owner.node, table.concat(notes, ", "))
end

local function leader_of(report)
  local it = report.allocator
  if not it then return nil end
  if not it.is_here then return "none in this moonlb (it only announces)" end
  return it.leader or "nobody" .. (it.lease_error and ": " .. it.lease_error or "")
end

local function summary(report, paint)
  local rows, decision = {}, report.decision or {}
  row(rows, "addresses", table.concat(report.addresses, ", "))
  row(rows, "status", table.concat(report.status, ", "))
  row(rows, "decided by", report.record and report.record.by or decision.rule)
  local is_waiting = report.record and decision.action == "pending"
  row(rows, "pool", decision.pool or is_waiting and report.serving and report.serving.name or nil)
  row(rows, "policy", report.policy)
  row(rows, "leader", leader_of(report))
  row(rows, "owner", owner_of(report))
  for _, it in ipairs(report.announcer and report.announcer.vips or {}) do
    row(rows, "vip", "%s %s%s for %s%s", it.address, it.state, it.interface and " on " .. it.interface or "",
      ago(it.since), it.reason and ": " .. it.reason or "")
  end
  local endpoints = report.endpoints
  row(rows, "endpoints", endpoints and ("%d ready%s"):format(endpoints.all, endpoints.is_local and ", Local" or ""))
  local lease = report.lease
  row(rows, "lease", lease and ("%s of %s, %s%s%s"):format(lease.address or "none", lease.server or "?",
    lease.state or "?", lease.t1 and os.date("!, renewed from %F %H:%M:%S UTC", math.floor(lease.t1)) or "",
    lease.expires and os.date("!, ends %F %H:%M:%S UTC", math.floor(lease.expires)) or ""))
  return tables.lines({ { title = "" }, { title = "" } }, rows, paint)
end

-- The trace that gave the address, where this process decided; else what is to be done now.
local function trace_of(report)
  local decision = report.decision or {}
  for i = decision.action == "keep" and #(report.history or {}) or 0, 1, -1 do
    local entry = report.history[i]
    if entry.kind == "decision" and entry.trace then return entry.trace end
  end
  return decision.trace or {}
end

local function trace_lines(report, paint)
  local rows = {}
  for i, entry in ipairs(trace_of(report)) do
    rows[i] = { entry.rule or "", entry.result or "", line_of(entry.reason or "") }
  end
  if not rows[1] then return {} end
  return tables.lines({ { title = "RULE" }, { title = "RESULT" }, { title = "WHY" } }, rows, paint)
end

local function pool_lines(report, paint)
  local rows = {}
  for _, pool in ipairs(report.pools or {}) do
    for _, it in ipairs(pool.families) do
      rows[#rows + 1] = { pool.name, table.concat(pool.keys, ", "), it.family, ("%.0f"):format(it.used),
        ("%.0f"):format(it.size), ("%.0f %%"):format(100 * it.used / it.size) }
    end
  end
  if not rows[1] then return {} end
  return tables.lines({ { title = "POOL" }, { title = "KEYS" }, { title = "FAMILY" },
    { title = "USED", is_right = true }, { title = "SIZE", is_right = true },
    { title = "", is_right = true } }, rows, paint)
end

local function node_lines(report, paint)
  local rows = {}
  for i, node in ipairs(report.nodes or {}) do
    local is_owner = report.owner and report.owner.node == node.name
    rows[i] = { node.rank and ("%d"):format(node.rank) or "", node.name .. (is_owner and " *" or ""),
      node.qualifies and "yes" or "no", node.heard and ago(node.heard) .. " ago" or "",
      line_of(node.why or node.preferred and "ranked by the policy" or "") }
  end
  if not rows[1] then return {} end
  return tables.lines({ { title = "RANK", is_right = true }, { title = "NODE" }, { title = "QUALIFIES" },
    { title = "HEARD" }, { title = "WHY" } }, rows, paint)
end

local function wire_lines(report, paint)
  local rows = {}
  for _, frame in ipairs(report.frames or {}) do
    rows[#rows + 1] = { os.date("!%H:%M:%S", math.floor(frame.at)), frame.direction, frame.interface or "",
      line_of(frame.says or "") }
  end
  for _, it in ipairs(report.neighbours or {}) do
    rows[#rows + 1] = { "", "kernel", it.interface or "", ("%s is at %s (%s)"):format(it.address, it.mac or "?",
      it.state) }
  end
  for _, it in ipairs(report.conflicts or {}) do
    rows[#rows + 1] = { "", "stranger", it.interface, ("%s is at %s, seen by %s"):format(it.address, it.mac, it.node) }
  end
  if not rows[1] then return {} end
  return tables.lines({ { title = "ARP" }, { title = "" }, { title = "ON" }, { title = "" } }, rows, paint)
end

local function mapping_lines(report, paint)
  local rows = {}
  for i, it in ipairs(report.mappings or {}) do
    rows[i] = { ("%s:%d/%s"):format(it.address, it.port, it.protocol), it.state,
      it.outside and ("%s:%s"):format(it.outside, it.external_port or it.port) or "", line_of(it.reason or "") }
  end
  if not rows[1] then return {} end
  return tables.lines({ { title = "MAPPING" }, { title = "STATE" }, { title = "OUTSIDE" }, { title = "WHY" } }, rows,
    paint)
end

local SAYS = {
  event = function(it) return ("%s %s: %s"):format(it.type, it.reason, it.message) end,
  vip = function(it)
    return ("%s: %s -> %s%s"):format(it.subject, it.from, it.to, it.reason and " (" .. it.reason .. ")" or "")
  end,
  owner = function(it) return ("claim %d of node %s"):format(it.term, it.node) end,
  decision = function(it) return ("%s %s %s"):format(it.action, it.addresses, it.message or "") end,
  error = function(it) return it.message end,
  conflict = function(it) return ("%s claimed by %s (%s)"):format(it.subject, it.mac, it.operation) end,
}

local function history_lines(report, paint)
  local rows = {}
  for _, it in ipairs(report.events or {}) do
    rows[#rows + 1] = { os.date("!%F %H:%M:%S", math.floor(it.at)), "event", line_of(SAYS.event(it)) }
  end
  for _, it in ipairs(report.history or {}) do
    rows[#rows + 1] = { os.date("!%F %H:%M:%S", math.floor(it.at)), it.kind,
      line_of(SAYS[it.kind] and SAYS[it.kind](it) or "") }
  end
  if not rows[1] then return {} end
  return tables.lines({ { title = "WHEN (UTC)" }, { title = "WHAT" }, { title = "" } }, rows, paint)
end

--- @tparam table report  of moonlb.control.explain
-- @tparam boolean has_colour
-- @treturn string  without a line feed at its end
function text.page(report, has_colour)
  local paint = tables.painter(has_colour)
  local lines = { paint(report.sentence, report.is_well and "green" or "red") }
  for _, note in ipairs(report.notes or {}) do lines[#lines + 1] = paint("note: " .. line_of(note), "yellow") end
  for _, make in ipairs({ summary, trace_lines, pool_lines, node_lines, wire_lines, mapping_lines, history_lines }) do
    local more = make(report, paint)
    if more[1] then
      if lines[#lines] ~= "" and make ~= summary then lines[#lines + 1] = "" end
      table.move(more, 1, #more, #lines + 1, lines)
    end
  end
  if report.unknown and report.unknown[1] then
    lines[#lines + 1] = ""
    lines[#lines + 1] = paint("not known: " .. line_of(table.concat(report.unknown, "; ")), "dim")
  end
  return table.concat(lines, "\n")
end

return text
