--- Reads what a policy worker says. Every byte of it may be a lie: only the shapes below get through, and only plain
-- values of bounded length. Whether a decision is allowed is judged later, by the host's own tables. Pure.
-- @module moonlb.policy.worker_answers
local cleaning = require("moonlb.clean")

local answers = {}

local MAX_TEXT, MAX_RULES, MAX_ADDRESSES, MAX_ADDRESS, MAX_URL, MAX_LIST = 600, 64, 16, 64, 2048, 8
local MAX_PLACES, MAX_COUNT, MAX_NAME = 3, 2.0 ^ 136, 63
-- A rule's line when it is one of the stock policy. 0: a function of C, which has none.
local OF_STOCK = -1
local STOCK_FILE = "policies/default.lua"
local CAUSES = { error = true, budget = true, time = true, memory = true, syntax = true, shape = true }

-- Reasons repeat from Service to Service: what was cleaned before, up to this many.
local MAX_SEEN = 256
local seen, seen_count = {}, 0

-- Text for a log line or an Event: one line of valid UTF-8.
local function clean(text, most)
  if type(text) ~= "string" then return nil end
  if seen[text] then return seen[text] end
  local result = cleaning.line(text, most or MAX_TEXT)
  if not most and #text <= MAX_TEXT then
    if seen_count >= MAX_SEEN then seen, seen_count = {}, 0 end
    seen[text], seen_count = result, seen_count + 1
  end
  return result
end

local function is_line(value)
  return math.type(value) == "integer" and value >= 0 and value < 1 << 31
end

-- Where a rule begins.
local function is_rule_line(value)
  return value == OF_STOCK or is_line(value)
end

-- An array of 0 to `most` values that `check` accepts, and nothing else in the table.
local function is_list(list, most, check)
  if type(list) ~= "table" or #list > most then return false end
  local count = 0
  for _, value in pairs(list) do
    count = count + 1
    if count > most or not check(value) then return false end
  end
  return count == #list
end

local function is_name(value)
  return type(value) == "string" and #value <= MAX_NAME and value:find("^[%w_-]+$") ~= nil
end

--- Where the steps of traces are kept, for each of the rules.
function answers.new_steps(rules)
  local steps = {}
  for i = 1, #rules do steps[i] = {} end
  return steps
end

--- The answer to a load.
-- @treturn table|nil  `{rules=names, lines= (-1: of the stock policy; 0: none), tests=, has_place=}`; nil when it is no
-- such thing
function answers.loaded(value)
  if type(value) ~= "table" or not is_list(value.rules, MAX_RULES, is_name)
    or not is_list(value.lines, MAX_RULES, is_rule_line) or #value.rules ~= #value.lines
    or (value.tests ~= nil and type(value.tests) ~= "table") or type(value.has_place) ~= "boolean" then
    return nil
  end
  return { rules = value.rules, lines = value.lines, tests = value.tests, has_place = value.has_place,
    steps = answers.new_steps(value.rules), step_count = 0 }
end

--- Why a policy could not be loaded.
-- @treturn table|nil  `{cause=, message=, line=}`
function answers.failed(value)
  if type(value) ~= "table" or not CAUSES[value.cause] then return nil end
  if type(value.message) ~= "string" or not is_line(value.line) then return nil end
  return { cause = value.cause, message = clean(value.message), line = value.line }
end

--- The answer to where a group shall live.
-- @treturn table|nil  names
function answers.placed(value)
  local function is_node(name) return type(name) == "string" and #name <= 253 end
  if type(value) ~= "table" or not is_list(value.names, MAX_PLACES, is_node) then return nil end
  return value.names
end

local function read_addresses(given, outcome)
  local function is_text(value) return type(value) == "string" and #value <= MAX_ADDRESS end
  if not is_list(given.addresses, MAX_ADDRESSES, is_text) then return false end
  outcome.addresses = given.addresses
  return #given.addresses > 0
end

-- kind -> what else such an outcome holds; false when that is not as it must be.
local KINDS = {
  use = read_addresses,
  share = read_addresses,
  pass = function() return true end,
  refuse = function(given, outcome)
    outcome.reason = clean(given.reason)
    return outcome.reason ~= nil
  end,
  dhcp = function(given, outcome)
    outcome.hostname = clean(given.hostname, 253)
    return given.hostname == nil or outcome.hostname ~= nil
  end,
  error = function(given, outcome)
    outcome.reason, outcome.cause = clean(given.reason), given.cause
    return outcome.reason ~= nil and CAUSES[given.cause] == true
  end,
  http = function(given, outcome)
    outcome.url, outcome.timeout = given.url, given.timeout
    return type(given.url) == "string" and #given.url <= MAX_URL
      and (given.timeout == nil or (type(given.timeout) == "number" and given.timeout == given.timeout))
  end,
}

local function is_pass_reason(value)
  return value == false or type(value) == "string"
end

-- A step of a trace. The same steps come again and again: made once for each rule and reason, to be read only.
local function step(policy, i, result, reason)
  if result ~= "pass" then return { rule = policy.rules[i], result = result, reason = reason } end
  local entry = policy.steps[i][reason or ""]
  if not entry then
    if policy.step_count >= MAX_SEEN then policy.steps, policy.step_count = answers.new_steps(policy.rules), 0 end
    entry = { rule = policy.rules[i], result = result, reason = reason }
    policy.steps[i][reason or ""], policy.step_count = entry, policy.step_count + 1
  end
  return entry
end

-- The trace, and which rule ended it: all that passed are named by their reasons, in order.
local function read_trace(given, outcome, policy)
  local passes = given.passes or {}
  if not is_list(passes, #policy.rules, is_pass_reason) then return false end
  local is_through = #passes == #policy.rules
  if is_through ~= (given.kind == "pass") then return false end
  outcome.trace, outcome.file = {}, policy.file
  for i, reason in ipairs(passes) do
    outcome.trace[i] = step(policy, i, "pass", clean(reason))
  end
  if is_through then return true end
  local last = #passes + 1
  local own_line = policy.lines[last]
  local line = is_line(given.line) and given.line > 0 and given.line or own_line
  outcome.rule, outcome.file = policy.rules[last], own_line == OF_STOCK and STOCK_FILE or policy.file
  outcome.line = own_line ~= OF_STOCK and line > 0 and line or nil
  outcome.trace[last] = { rule = outcome.rule, result = given.kind, reason = outcome.reason }
  return true
end

-- An integer; a float where it does not fit, at most all of IPv6 in some sources.
local function is_count(value)
  if math.type(value) == "float" then return value >= 2.0 ^ 63 and value <= MAX_COUNT end
  return math.type(value) == "integer" and value >= 0
end

local function is_exhausted(value)
  return type(value) == "table" and type(value.pool) == "string" and (value.family == 4 or value.family == 6)
    and is_count(value.used) and is_count(value.size)
end

local function read_extras(given, outcome)
  local function is_text(value) return type(value) == "string" end
  if given.exhausted ~= nil then
    if not is_list(given.exhausted, MAX_LIST, is_exhausted) then return false end
    outcome.exhausted = {}
    for i, entry in ipairs(given.exhausted) do
      outcome.exhausted[i] = { pool = clean(entry.pool), family = entry.family, used = entry.used, size = entry.size }
    end
  end
  if given.log ~= nil then
    if not is_list(given.log, MAX_LIST, is_text) then return false end
    outcome.log = {}
    for i, line in ipairs(given.log) do outcome.log[i] = clean(line) end
  end
  return true
end

local SAME = { kind = "same" }

local function read_outcome(given, request, policy)
  if given == true then return request.is_anew and SAME or nil end
  if type(given) ~= "table" then return nil end
  local read = KINDS[given.kind]
  local outcome = { kind = given.kind }
  if not read or not read(given, outcome) or not read_extras(given, outcome) then return nil end
  return read_trace(given, outcome, policy) and outcome or nil
end

--- The answer to a batch of requests.
-- @tparam table requests  as they were sent
-- @tparam table policy  `{file=, rules=, lines=}`
-- @treturn table|nil  outcomes as of `moonlb.policy.trusted`, and the kinds `http` (`url`, `timeout`) and `same` (of a
-- request with `is_anew`: what the Service has): of the whole batch, or of its beginning when a limit ended a call; nil
-- when it is no such thing
-- @treturn boolean  whether a limit ended a call: the worker's state is at its end
function answers.decided(value, requests, policy)
  if type(value) ~= "table" or type(value.is_spoiled) ~= "boolean" then return nil end
  local given, count = value.outcomes, #requests
  if type(given) ~= "table" then return nil end
  if #given > count or (#given < count and not value.is_spoiled) or #given == 0 then return nil end
  local outcomes = {}
  for i = 1, #given do
    outcomes[i] = read_outcome(given[i], requests[i], policy)
    if not outcomes[i] then return nil end
  end
  return outcomes, value.is_spoiled
end

return answers
