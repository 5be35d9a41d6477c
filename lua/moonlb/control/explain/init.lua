--- `explain`: facts about one Service in, a report out; its first line is one sentence that says what is wrong and what
-- to do. Pure.
-- @module moonlb.control.explain
local ago = require("moonlb.control.explain.ago")
local json = require("moonlb.json")
local notes = require("moonlb.control.explain.notes")
local printable = require("moonlb.printable")

local explain = {}

local LISTS = { require("moonlb.control.explain.pending"), require("moonlb.control.explain.unreachable") }

--- The codes of all diagnoses, in the order in which they are asked; `well` when none answers.
explain.CODES = {}
for _, list in ipairs(LISTS) do
  for _, it in ipairs(list) do table.insert(explain.CODES, it.code) end
end
table.insert(explain.CODES, "well")

-- What each source knows, the next one more: a diagnosis is asked of those that know what it looks at.
local KNOWS = { files = 1, cluster = 2, daemon = 3 }

-- These tell of an address that is served: nothing has to be done at once.
local NOTES = { well = true, ["source-ranges"] = true, ["being-written"] = true, ["being-taken"] = true,
  ["would-be-given"] = true }

local function is_well(code, facts)
  if code == "being-written" and facts.source == "cluster" then return false end	-- by whom is not known
  return NOTES[code] or false
end

local function clock(seconds)
  return os.date("!%H:%M:%S UTC", math.floor(seconds))
end

local function served(facts)
  for _, it in ipairs(facts.announcer and facts.announcer.vips or {}) do
    if it.state == "announcing" or it.state == "held" then
      return (" on %s since %s (%s)"):format(it.interface or "?", clock(facts.walltime - it.since),
        ago(it.since))
    end
  end
  return ""
end

local function all_is_well(facts)
  local addresses = table.concat(facts.assigned or {}, ", ")
  local node = facts.owner and facts.owner.node or facts.host or "?"
  if facts.source == "files" then
    local by = facts.decision and facts.decision.rule
    return ("%s is assigned to it%s"):format(addresses, by and by ~= "" and (" (rule %s)"):format(by) or ""),
      "nothing is wrong in these files; whether it is announced only a cluster says"
  end
  if facts.source == "cluster" then
    return ("%s is announced by node %s, by what the API says"):format(addresses, node),
      "what the LAN thinks of it only a running moonlb knows: moonlb explain on a node"
  end
  return ("%s is announced by node %s%s"):format(addresses, node, served(facts)), "nothing is wrong that moonlb can see"
end

--- What is wrong, and what to do.
-- @tparam table facts  see moonlb.control.explain.facts
-- @treturn string  the code of the diagnosis
-- @treturn string  what is wrong
-- @treturn string  what to do
function explain.diagnose(facts)
  for _, list in ipairs(LISTS) do
    for _, it in ipairs(list) do
      local wrong, fix
      if KNOWS[facts.source] >= KNOWS[it.of] then wrong, fix = it.ask(facts) end
      if wrong then return it.code, wrong, fix end
    end
  end
  return "well", all_is_well(facts)
end

-- One line, one sentence, whatever came from outside.
local function one_line(text)
  return printable.escape((text:gsub("%s+", " ")))
end

local function sentence(key, wrong, fix)
  local text = one_line(("%s: %s; %s"):format(key, wrong, fix))
  return text:sub(-1) == "." and text or text .. "."
end

-- What has no place in the report: the object itself, and what was only there to diagnose.
local HIDDEN = { service = true, wanted = true, ingress = true, walltime = true, keeps_ccm_finalizer = true,
  serving = true, stale_socket = true, asks_outside = true }

-- What may be empty and is an array all the same.
local ARRAYS = { "pools", "nodes", "neighbours", "conflicts", "events", "history", "mappings", "unknown", "frames",
  "notes",  "addresses", "status" }

local function serving_of(serving)
  if not serving then return nil end
  local families = json.array()
  for _, number in ipairs({ 4, 6 }) do
    if serving.families[number] then table.insert(families, "IPv" .. number) end
  end
  return { name = serving.name, is_dhcp = serving.is_dhcp, families = families }
end

--- Mark what is an array also when it is empty: anew after a report came as JSON.
-- @tparam table report
-- @treturn table  the same
function explain.mark(report)
  for _, name in ipairs(ARRAYS) do
    if report[name] then json.array(report[name]) end
  end
  for _, part_name in ipairs({ "decision", "configmap", "announcer", "serving" }) do
    local part = report[part_name] or {}
    for _, name in ipairs({ "addresses", "trace", "warnings", "vips", "complaints", "families" }) do
      if part[name] then json.array(part[name]) end
    end
  end
  return report
end

--- The report.
-- @tparam table facts
-- @treturn table  `{service=, sentence=, diagnosis=, is_well=, notes=, addresses=, status=, ...}`: the rest as in the
--   facts; plain values that go as JSON
function explain.report(facts)
  local code, wrong, fix = explain.diagnose(facts)
  local report = { service = facts.key, sentence = sentence(facts.key, wrong, fix), diagnosis = code,
    is_well = is_well(code, facts), wrong = wrong, remedy = fix,
    addresses = json.array({ table.unpack(facts.assigned or {}) }),
    notes = json.array(notes.of(facts, code)), status = json.array(),
    serving = serving_of(facts.serving), at = facts.walltime }
  for name, value in pairs(facts) do
    if not HIDDEN[name] and report[name] == nil then report[name] = value end
  end
  for ip in pairs(facts.ingress or {}) do table.insert(report.status, ip) end
  table.sort(report.status)
  return explain.mark(report)
end

return explain
