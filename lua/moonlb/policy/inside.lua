--- What runs inside a policy's own Lua state, in the worker process: the policy, the API it sees, and a replica of
-- the allocator's
-- state that the host feeds. `core/policy_sandbox.c` calls the function that `new` returns with each message.
--
-- A decision that waits for an answer from outside ends here (`kind = "http"`), and is run again from its start when
-- the host has the
-- answer, with all answers so far: rules have no side effects, so the second run comes to the same place and goes on.
-- @module moonlb.policy.inside
local address = require("moonlb.core.address")
local api = require("moonlb.policy.api")
local decision = require("moonlb.policy.decision")
local label_index = require("moonlb.allocator.label_index")
local service = require("moonlb.allocator.service")
local state = require("moonlb.allocator.state")

local inside = {}

local Inside = {}
Inside.__index = Inside

local MAX_RULES, MAX_REASON, MAX_ADDRESSES, MAX_URL = 64, 500, 16, 2048
-- How many names of a ranking count, and how many are looked at.
local MAX_PLACES, MAX_NODES = 3, 10000
-- The stock policy's rules, `rule.*`, come from here.
local STOCK, STOCK_FILE = "default", "policies/default.lua"
-- Instead of a line: a rule of the stock policy.
local OF_STOCK = -1
-- How an error of this file begins.
local OWN_PLACE = select(2, pcall(function() error("") end)):match("^(.*:)%d+: $")

local function brief(text)
  return #text > MAX_REASON and text:sub(1, MAX_REASON) .. "..." or text
end

-- What is wrong with the table that a policy returned; nil when nothing is. Raw: it may have any metatable.
local function fault_of(policy)
  if type(policy) ~= "table" then return "a policy returns a table, not " .. type(policy) end
  local level, rules, place = rawget(policy, "api"), rawget(policy, "rules"), rawget(policy, "place")
  if level ~= api.LEVEL then
    local shown = type(level) == "number" and tostring(level) or type(level)
    return ("api = %s: this moonlb has the policy API of level %d"):format(shown, api.LEVEL)
  end
  if type(rules) ~= "table" or rawlen(rules) == 0 then return "rules: a list of functions expected" end
  if rawlen(rules) > MAX_RULES then return ("rules: %d of them, at most %d"):format(rawlen(rules), MAX_RULES) end
  for i = 1, rawlen(rules) do
    if type(rawget(rules, i)) ~= "function" then
      return ("rules[%d] is a %s, not a function"):format(i, type(rawget(rules, i)))
    end
  end
  if place ~= nil and type(place) ~= "function" then return "place is no function" end
  if rawget(policy, "tests") ~= nil and type(rawget(policy, "tests")) ~= "table" then return "tests is no list" end
  return nil
end

-- http.get(url, {timeout=s}) -> {status=, body=, json=} | nil, message.
local function new_http(self)
  local function get(url, options)
    if type(url) ~= "string" or #url > MAX_URL or not url:find("^https?://") then
      error("http.get: an http:// or https:// address expected", 3)
    end
    local timeout = type(options) == "table" and rawget(options, "timeout") or nil
    if timeout ~= nil and (type(timeout) ~= "number" or timeout ~= timeout) then
      error("http.get: timeout is a number of seconds", 3)
    end
    if not self.answers then error("http.get: only a rule can ask", 3) end
    local answer = self.answers[url]
    if not answer then
      self.wanted = { url = url, timeout = timeout }
      self.native.suspend()
    end
    if answer.error then return nil, answer.error end
    return { status = answer.status, body = answer.body, json = answer.json }
  end
  return self.native.freeze({ get = self.native.expose(get) })
end

-- Run a chunk as policy `name`. Returns its table and names of its rules, or nil, cause, message and line.
local function compile(self, name, text, file)
  local native = self.native
  local environment = native.environment()
  local rules = name == STOCK and {} or setmetatable({}, { __index = self.rules, __metatable = false })
  for key, value in pairs(self.api:names(rules)) do environment[key] = value end
  environment.http = self.http
  local chunk, message = native.load(text, file, environment)
  if not chunk then return nil, "syntax", message, math.tointeger(message:match(":(%d+):")) or 0 end
  local ok, policy, why, line = native.guard_load(chunk)
  if not ok then return nil, policy, why, line end
  local fault = fault_of(policy) or api.rule_fault(rules)
  if fault then return nil, "shape", fault, 0 end
  if name == STOCK then self.rules = rules end
  for key, rule in next, rules do
    self.rule_names[rule] = key
    if name == STOCK then self.is_stock[rule] = true end
  end
  return policy
end

-- error(text, 2) of a rule names who called it, which is this file: no place that its author knows.
local function words_of(message)
  if message:sub(1, #OWN_PLACE) == OWN_PLACE then message = message:sub(#OWN_PLACE + 1):gsub("^%d+: ", "") end
  return brief(message)
end

local function failure(cause, message, line)
  return "E", { cause = cause, message = words_of(message), line = line }
end

-- To index a label takes as long as there are Services: outside the guarded call, which is left for it.
local function new_state(self)
  local own = state.new({ settings = self.settings, now = function() return self.now end,
    utc = function() return self.utc end })
  own.labels.on_missing = function(label)
    self.wanted_label = label
    self.native.suspend()
  end
  return own
end

-- A guarded call; made anew for each label that it asks for first.
local function guard(self, fn, ...)
  for _ = 1, label_index.MAX_LABELS do
    self.wanted_label = nil
    local results = table.pack(self.native.guard(fn, ...))
    if not self.wanted_label then return table.unpack(results, 1, results.n) end
    self.state.labels:add(self.wanted_label, self.state.services)
    self.api:again()
  end
  return false, "error", ("asks for more than %d labels"):format(label_index.MAX_LABELS), 0
end

--- 'T' {text}: the next piece of the policy's text, whose rest comes with 'L'. Answers 'T' true.
function Inside:add_text(value)
  self.pieces[#self.pieces + 1] = value[1]
  return "T", true
end

--- 'L' {{name=, file=, text=, stock=text, settings=, memory=bytes}}: load the policy, the only one of this state.
-- Answers 'L' {rules=names, lines= (-1: of the stock policy; 0: of C), tests=, has_place=} or
-- 'E' {cause=, message=, line=}.
function Inside:load(value)
  local given = value[1]
  self.native.set_memory(given.memory)
  self.settings = given.settings
  self.state = new_state(self)
  local policy, cause, message, line
  if given.name ~= STOCK then
    policy, cause, message, line = compile(self, STOCK, given.stock, STOCK_FILE)
    if not policy then return failure(cause, STOCK_FILE .. ": " .. message, line) end
  end
  local text = table.concat(self.pieces) .. given.text
  self.pieces = {}
  policy, cause, message, line = compile(self, given.name, text, given.file)
  if not policy then return failure(cause, message, line) end
  local names, lines = {}, {}
  self.list = table.move(policy.rules, 1, rawlen(policy.rules), 1, {})
  for i, rule in ipairs(self.list) do
    names[i] = self.rule_names[rule] or "rule-" .. i
    lines[i] = self.is_stock[rule] and given.name ~= STOCK and OF_STOCK or self.native.line_of(rule)
  end
  self.lines = lines
  self.rank = rawget(policy, "place")
  return "L", { rules = names, lines = lines, tests = rawget(policy, "tests"), has_place = self.rank ~= nil }
end

-- What the host may do to the replica.
local OPERATIONS = {
  set_configmap = true, remove_service = true, set_node = true, remove_node = true,
  reserve = true, release = true,
}
local OF_OWNERSHIP = { exclude = true, unexclude = true, rest = true }

-- What this state has lent by itself, so that the decisions of one batch do not all choose the same address.
local function end_loans(self)
  for key in pairs(self.lent) do self.state:give_back(key) end
  self.lent = {}
end

-- A Service's object is kept as the bytes it came in and unpacked when it is looked at: at 10,000 Services that is a
-- third of the
-- memory and of the collector's work, and each look gets a copy of its own, which a policy may change as it likes.
local function new_lazy(native)
  return { __index = function(object, field) return native.unpack(rawget(object, 1))[field] end }
end

local function set_service(self, bytes)
  local record = self.state:set_service(self.native.unpack(bytes))
  if record then record.object = setmetatable({ bytes }, self.lazy) end
end

local function set_clock(self, value)
  self.now, self.utc = value[1].now, value[1].utc
  self.state.ownership:expire()
end

--- 'V' {{now=, utc=, memory=}, {operation, arguments...}...}: `set_service` has its object as packed bytes. Bring the
-- replica up to date. Answers 'V' {used=bytes, memory=bytes}.
function Inside:feed(value)
  self.native.set_memory(value[1].memory)
  end_loans(self)
  set_clock(self, value)
  for i = 2, #value do
    local entry = value[i]
    local name = entry[1]
    if name == "set_service" then
      set_service(self, entry[2])
    elseif OPERATIONS[name] then
      self.state[name](self.state, table.unpack(entry, 2))
    elseif OF_OWNERSHIP[name] then
      self.state.ownership[name](self.state.ownership, table.unpack(entry, 2))
    else
      error("operation " .. tostring(name) .. " is unknown")
    end
  end
  local used, limit = self.native.memory()
  return "V", { used = used, memory = limit }
end

-- The addresses of a decision: text alone crosses to the host.
local function plain_addresses(list)
  if #list > MAX_ADDRESSES then return nil, ("%d addresses, at most %d are possible"):format(#list, MAX_ADDRESSES) end
  for i, item in ipairs(list) do
    if type(item) ~= "string" or #item > 64 then
      return nil, ("address %d is %s"):format(i, type(item) == "string" and "too long" or "a " .. type(item))
    end
  end
  return list
end

local function faulty(message, line)
  return { kind = "error", cause = "error", reason = message, line = line }
end

-- What the return values of a rule mean; nil for a pass.
local function meaning(value, rule_line)
  local fields = decision.open(value)
  if fields then
    local addresses, fault = fields.addresses
    if addresses then addresses, fault = plain_addresses(addresses) end
    if fault then return faulty(fields.kind .. ": " .. fault, fields.line > 0 and fields.line or rule_line) end
    return { kind = fields.kind, addresses = addresses, hostname = fields.hostname, reason = fields.reason,
      line = fields.line > 0 and fields.line or rule_line }
  end
  if value ~= nil then return faulty(("returned a %s, not a decision"):format(type(value)), rule_line) end
  return nil
end

-- A guarded call that did not come back: an error, a limit, or a wait for an answer from outside.
local function ended(self, cause, message, line, rule_line)
  if cause == "suspend" then return { kind = "http", url = self.wanted.url, timeout = self.wanted.timeout } end
  if cause ~= "error" then self.is_spoiled = true end
  return { kind = "error", cause = cause, reason = words_of(message), line = line > 0 and line or rule_line }
end

-- A copy of the object of its own for each decision.
local function view_of(self, record, is_anew)
  local object = self.native.unpack(rawget(record.object, 1))
  return is_anew and service.as_made(object) or object
end

-- What a rule of the stock policy looks at.
local function name_of(record)
  record.as_named = record.as_named or { metadata = { namespace = record.namespace, name = record.name } }
  return record.as_named
end

-- Runs guarded, all rules in one call: each of them within the limits, and all together. The object is unpacked for
-- the policy's own rules alone: those of the stock policy look at no more than the Service's name.
local function try_rules(self, record, is_anew)
  local passes, list, is_stock, cluster, object = {}, self.list, self.is_stock, self.api.cluster, nil
  self.passes = passes
  for i = 1, #list do
    local rule = list[i]
    if not is_stock[rule] and not object then object = view_of(self, record, is_anew) end
    local value, reason = rule(object or name_of(record), cluster)
    if value ~= nil then return value end
    passes[i] = type(reason) == "string" and brief(reason) or false
  end
  return nil
end

local function run_rules(self, record, is_anew)
  local ok, value, message, line = guard(self, try_rules, self, record, is_anew)
  local passes = self.passes
  local rule_line = self.lines[#passes + 1]
  local outcome = ok and (meaning(value, rule_line) or { kind = "pass" })
    or ended(self, value, message, line, rule_line)
  outcome.passes = passes
  return outcome
end

-- As the host will, if the decision holds: hold the addresses for the rest of the batch.
local function lend(self, record, outcome)
  local list = {}
  for i, item in ipairs(outcome.addresses) do
    list[i] = address.canonical(item)
    if not list[i] or not self.state:usable(record, list[i]) then return end
  end
  if self.state:lend(record.key, list) then self.lent[record.key] = true end
end

-- `is_last`: of the batch; whoever asks next has been told what became of it. True for a Service that would get what it
-- has: of 10,000 in a dry run those are most, and an outcome of each would cost the host more than all else.
local function decide_one(self, request, is_last)
  local record = self.state.services[request.key]
  if not record then return faulty("the worker does not know this Service", 0) end
  if request.is_anew then record = self.state:set_aside(request.key) end
  self.answers, self.wanted = request.http or {}, nil
  self.api:begin(self.state, record, request)
  local outcome = run_rules(self, record, request.is_anew)
  self.answers = nil
  outcome.exhausted, outcome.log = self.api.exhausted, self.api.lines and self.api.lines[1] and self.api.lines or nil
  if request.is_anew then
    local had = self.state:put_back().assigned
    if outcome.addresses and table.concat(outcome.addresses, ",") == table.concat(had or {}, ",") then return true end
  elseif outcome.addresses and not is_last and not request.is_dry_run then
    lend(self, record, outcome)
  end
  return outcome
end

--- 'D' {{now=, utc=}, {key=, request=, request_error=, is_dry_run=, is_anew=, http={[url]=answer}}...}: decide, one
-- after the other; `is_dry_run`: without effect on those after it; `is_anew`: such a one of a Service that has an
-- address, as if it had been made just now. Answers
-- 'D' {outcomes=, is_spoiled=}; an outcome is true for one that would get what it has. A call that a limit ended may
-- have left the replica or the policy half changed: then the rest of the batch is not answered, and this state is at
-- its end.
function Inside:decide(value)
  end_loans(self)
  set_clock(self, value)
  local outcomes = {}
  for i = 2, #value do
    outcomes[i - 1] = decide_one(self, value[i], i == #value)
    if self.is_spoiled then break end
  end
  return "D", { outcomes = outcomes, is_spoiled = self.is_spoiled or false }
end

-- The names of a ranking: nodes or names of nodes, each once, those that there are.
local function read_ranking(list, known)
  if type(list) ~= "table" then return nil, "place returned a " .. type(list) .. ", not a list of nodes" end
  local names = {}
  for i = 1, math.min(rawlen(list), MAX_NODES) do
    local node = rawget(list, i)
    local name = type(node) == "table" and rawget(node, "name") or node
    if type(name) ~= "string" then return nil, ("place: entry %d is no node"):format(i) end
    if known[name] and #names < MAX_PLACES then names[#names + 1], known[name] = name, nil end
  end
  return names
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for key, item in pairs(value) do result[key] = copy(item) end
  return result
end

-- Runs guarded; what the policy gets is its own to change, also when it is called again.
local function rank(self, group)
  return self.rank(copy(group), self.state:list_nodes(), self.api.cluster)
end

--- 'P' {{now=, utc=}, group}: where a group shall live (see `moonlb.policy.trusted`); the nodes are those of the
-- replica, since all of them may be too many for a message. Answers 'P' {names=} or
-- 'E' {cause=, message=, line=}, after which this state is at its end unless the cause is `error`.
function Inside:place(value)
  end_loans(self)
  set_clock(self, value)
  local group, known = value[2], {}
  local first = group.services[1]
  for name in pairs(self.state.nodes) do known[name] = true end
  self.api:begin(self.state, self.state.services[first.namespace .. "/" .. first.name], {})
  local ok, list, message, line = guard(self, rank, self, group)
  if not ok then return failure(list, message, line) end
  local names, why = read_ranking(list, known)
  if not names then return failure("error", why, self.native.line_of(self.rank)) end
  return "P", { names = names }
end

--- 'R' {}: forget the replica; the policy stays. Answers 'R' true.
function Inside:reset()
  self.lent = {}
  self.state = new_state(self)
  return "R", true
end

local HANDLERS = { T = Inside.add_text, L = Inside.load,
  V = Inside.feed, D = Inside.decide, P = Inside.place, R = Inside.reset }

--- @tparam table native  the functions of core/policy_sandbox.c
-- @treturn func  `answer(type, value) -> type, value`
function inside.new(native)
  local self = setmetatable({ native = native, api = api.new(native.expose, native.line, native.tostring), rules = {},
    rule_names = {}, is_stock = {}, lent = {}, pieces = {}, now = 0, utc = 0 }, Inside)
  self.lazy = new_lazy(native)
  self.http = new_http(self)
  return function(kind, value)
    local handler = HANDLERS[kind]
    if not handler then error("a message of type " .. kind .. " is unknown") end
    return handler(self, value)
  end
end

return inside
