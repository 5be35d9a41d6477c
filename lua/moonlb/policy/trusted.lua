--- The back end for policies that are part of the binary: they run in the controller's process.
--
-- A back end offers `load(name, text, file)`, `forget(name)` and `decide(name, request, state) -> outcome`, and may
-- offer `place(name, group, nodes, state) -> names` and `feed(operation, ...)` (the worker keeps a replica of the
-- state that way). Requests and outcomes are plain values (see `trusted.decide`), so that they cross a process
-- boundary; `decide` may wait, since it is called in a task.
-- @module moonlb.policy.trusted
local api = require("moonlb.policy.api")
local core = require("moonlb.core.policy_worker")
local decision = require("moonlb.policy.decision")
local environment = require("moonlb.policy.environment")
local http = require("moonlb.policy.http")

local trusted = {}

local Trusted = { __name = "moonlb.policy.trusted" }
Trusted.__index = Trusted

local MAX_RULES, MAX_TEXT = 64, 1024 * 1024
local MAX_PASSES = 1024
-- A decision asks outside this often at most, and for an address of this length.
local MAX_OUTSIDE, MAX_URL = 8, 2048
-- How many names of a ranking count.
local MAX_PLACES = 3

local NOBODY = { ask = function() return { error = "nobody is asked here" } end }

-- What `http.get` raises to leave the rule: the rules run again from the first when the answer is there.
local SUSPENDED = setmetatable({}, { __name = "suspended", __tostring = function() return "http.get waits" end })

--- @tparam[opt] table options  `http`: `{ask=function(url, timeout) -> {status=, body=} | {error=}}`, called inside a
-- task; absent: every `http.get` fails
-- @treturn Trusted  `http` may be replaced at any time
function trusted.new(options)
  local self = setmetatable({ http = options and options.http or NOBODY, policies = {}, rules = {}, rule_names = {},
    passes = {}, pass_count = 0, chunk = "" }, Trusted)
  self.api = api.new(core.expose, function() return core.line(self.chunk) end, core.tostring)
  return self
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
    local answer = self.answers[url] and core.unpack(self.answers[url])
    if not answer then
      self.wanted = { url = url, timeout = timeout }
      error(SUSPENDED, 0)
    end
    if answer.error then return nil, answer.error end
    return answer
  end
  return setmetatable({}, { __index = { get = core.expose(get) }, __metatable = false,
    __newindex = function() error("http cannot be changed", 2) end })
end

local function is_function_list(rules)
  if type(rules) ~= "table" or rawlen(rules) == 0 then return nil, "rules: a list of functions expected" end
  if rawlen(rules) > MAX_RULES then return nil, ("rules: %d of them, at most %d"):format(rawlen(rules), MAX_RULES) end
  for i = 1, rawlen(rules) do
    if type(rawget(rules, i)) ~= "function" then
      return nil, ("rules[%d] is a %s, not a function"):format(i, type(rawget(rules, i)))
    end
  end
  return true
end

-- What is wrong with the table that a policy returned; nil when nothing is.
local function fault_of(policy)
  if type(policy) ~= "table" then return "a policy returns a table, not " .. type(policy) end
  if getmetatable(policy) ~= nil then return "a policy returns a plain table" end
  if policy.api ~= api.LEVEL then
    return ("api = %s: this moonlb has the policy API of level %d"):format(tostring(policy.api), api.LEVEL)
  end
  local _, fault = is_function_list(policy.rules)
  if fault then return fault end
  if policy.place ~= nil and type(policy.place) ~= "function" then return "place is no function" end
  if policy.tests ~= nil and type(policy.tests) ~= "table" then return "tests is no list" end
  return nil
end

-- Of each rule the line that it begins on and its chunk ("@file"): the policy's own, or the stock policy's. A function
-- of C has no line, and is the policy's own.
local function places_of(rules, file)
  local lines, chunks = {}, {}
  for i, rule in ipairs(rules) do
    local info = debug.getinfo(rule, "S")
    if info.what == "C" then lines[i], chunks[i] = 0, "@" .. file
    else lines[i], chunks[i] = info.linedefined, info.source end
  end
  return lines, chunks
end

-- A rule is called as the policy called it, `function rule.by_team(...)`, or as the stock policy did, or by its
-- place.
local function names_of(self, rules, own)
  local names, own_names = {}, {}
  for name, rule in pairs(own) do
    own_names[rule] = name
  end
  for i, rule in ipairs(rules) do names[i] = own_names[rule] or self.rule_names[rule] or "rule-" .. i end
  return names
end

--- Compile a policy and look at what it returns. The one called `default` defines `rule.*`, which every other may
-- list.
-- @tparam string name  under which it is chosen
-- @tparam string text  Lua source
-- @tparam string file  for messages
-- @treturn table|nil  `{name=, file=, tests=, rules=names, has_place=}`; or nil and what is wrong, with file and line
function Trusted:load(name, text, file)
  if #text > MAX_TEXT then return nil, ("%s: %d bytes, at most %d"):format(file, #text, MAX_TEXT) end
  local is_stock = name == "default"
  local rules = is_stock and {} or setmetatable({}, { __index = self.rules, __metatable = false })
  local names = self.api:names(rules)
  names.http = new_http(self)
  local env = environment.new(names)
  local chunk, message = load(text:gsub("^\239\187\191", ""), "@" .. file, "t", env)
  if not chunk then return nil, message end
  local ok, policy = pcall(chunk)
  if not ok then return nil, type(policy) == "string" and policy or file .. ": raised a " .. type(policy) end
  local fault = fault_of(policy) or api.rule_fault(rules)
  if fault then return nil, file .. ": " .. fault end
  if is_stock then
    self.rules, self.rule_names = rules, {}
    for rule_name, rule in pairs(rules) do self.rule_names[rule] = rule_name end
  end
  local lines, chunks = places_of(policy.rules, file)
  self.policies[name] = { rules = policy.rules, names = names_of(self, policy.rules, rules), lines = lines,
    chunks = chunks, file = file, place = policy.place }
  return { name = name, file = file, tests = policy.tests, rules = self.policies[name].names,
    has_place = policy.place ~= nil }
end

--- Whether a policy is loaded.
function Trusted:has(name)
  return self.policies[name] ~= nil
end

--- Forget a policy.
function Trusted:forget(name)
  self.policies[name] = nil
end

-- What a rule's return values mean: a result for the trace, the decision's fields or nil, the reason of a pass or
-- fault.
local function meaning(ok, value, reason)
  if not ok then return "error", nil, type(value) == "string" and value or "raised a " .. type(value) end
  local fields = decision.open(value)
  if fields then return fields.kind, fields, fields.reason end
  if value ~= nil then return "error", nil, ("returned a %s, not a decision"):format(type(value)) end
  return "pass", nil, type(reason) == "string" and reason or nil
end

-- A rule passes thousands of Services for the same reason: they share the trace entry.
local function pass(self, rule, reason)
  local of_rule = self.passes[rule]
  local known = of_rule and of_rule[reason or ""]
  if known then return known end
  if self.pass_count >= MAX_PASSES then self.passes, self.pass_count = {}, 0 end
  self.passes[rule] = self.passes[rule] or {}
  known = { rule = rule, result = "pass", reason = reason }
  self.passes[rule][reason or ""], self.pass_count = known, self.pass_count + 1
  return known
end

local function outcome(self, kind, policy, i, trace, fields, reason)
  return {
    kind = kind, rule = policy.names[i], file = policy.chunks[i]:sub(2), trace = trace, reason = reason,
    line = fields and fields.line > 0 and fields.line or policy.lines[i] > 0 and policy.lines[i] or nil,
    addresses = fields and fields.addresses, hostname = fields and fields.hostname, exhausted = self.api.exhausted,
    log = self.api.lines,
  }
end

-- Run the rules once, with the answers from outside that there are so far.
local function run_rules(self, policy, request, state)
  local record, trace = state.services[request.key], {}
  self.api:begin(state, record, request)
  local view, cluster = record.object, self.api.cluster
  local rules, names, chunks = policy.rules, policy.names, policy.chunks
  for i = 1, #names do
    self.chunk = chunks[i]
    local result, fields, reason = meaning(pcall(rules[i], view, cluster))
    -- A rule that catches what http.get raises still waits for its answer.
    if self.wanted then return nil end
    if result == "pass" then
      trace[i] = pass(self, names[i], reason)
    else
      trace[i] = { rule = names[i], result = result, reason = reason }
      return outcome(self, result, policy, i, trace, fields, reason)
    end
  end
  return { kind = "pass", trace = trace, file = policy.file, exhausted = self.api.exhausted, log = self.api.lines }
end

local function failed(policy, reason)
  return { kind = "error", reason = reason, file = policy.file, trace = {} }
end

-- Run a policy's rules until they need no more answers from outside.
local function decide(self, outside, name, request, state)
  local policy, answers, size = self.policies[name], {}, 0
  for asked = 0, MAX_OUTSIDE do
    self.answers, self.wanted = answers, nil
    local result = run_rules(self, policy, request, state)
    local wanted = self.wanted
    self.answers, self.wanted = nil, nil
    if result then
      result.is_from_outside = next(answers) ~= nil or nil
      return result
    end
    if asked == MAX_OUTSIDE then break end
    local shown
    shown, size = http.shown(outside.ask(wanted.url, wanted.timeout), size)
    answers[wanted.url] = core.pack(shown)	-- without JSON's nulls, and a copy of its own for each look
    if not state.services[request.key] then return failed(policy, "the Service was deleted meanwhile") end
  end
  return failed(policy, ("asked outside more than %d times"):format(MAX_OUTSIDE))
end

--- Ask a policy about one Service. When a rule asks outside it waits, which takes a task.
-- @tparam string name  of the policy
-- @tparam table request  `key`: of the Service; `request`: the addresses its user asks for, or nil; `request_error`:
-- what is wrong with that
-- @tparam State state  see `moonlb.allocator.state`
-- @treturn table  the outcome: `kind` use, share, dhcp, refuse, pass (no rule decided) or error; `addresses`,
-- `hostname`, `reason`; `rule`, `file` and `line` of the rule that ended it; `trace`: array of `{rule=, result=,
-- reason=}`; `exhausted`: array of `{pool=, family=, used=, size=}`; `log`: lines; `is_from_outside`: answers of
-- `http.get` went into it
function Trusted:decide(name, request, state)
  return decide(self, self.http, name, request, state)
end

--- Ask a policy about some Services in a dry run: nobody outside is asked.
-- @treturn table  outcomes, in the order of `requests`
function Trusted:rehearse(name, requests, state)
  local outcomes = {}
  for i, request in ipairs(requests) do outcomes[i] = decide(self, NOBODY, name, request, state) end
  return outcomes
end

-- The names of a ranking: nodes or names of nodes, each once, those that there are.
local function read_ranking(list, known)
  if type(list) ~= "table" then return nil, "place returned a " .. type(list) .. ", not a list of nodes" end
  local names = {}
  for i = 1, rawlen(list) do
    local node = rawget(list, i)
    local node_name = type(node) == "table" and rawget(node, "name") or node
    if type(node_name) ~= "string" then return nil, ("place: entry %d is no node"):format(i) end
    if known[node_name] and #names < MAX_PLACES then
      names[#names + 1], known[node_name] = node_name, nil
    end
  end
  return names
end

--- Ask a policy that has `place` where a group shall live.
-- @tparam string name  of the policy
-- @tparam table group  `{addresses=, services={{namespace=, name=, labels=, annotations=}...}, place=names}`
-- @tparam table nodes  as of `cluster.nodes`
-- @tparam State state
-- @treturn table|nil  names of nodes, at most 3, best first; or nil and what is wrong, with file and line
function Trusted:place(name, group, nodes, state)
  local policy = self.policies[name]
  local first, known = group.services[1], {}
  for _, node in ipairs(nodes) do known[node.name] = true end	-- the policy may change what it gets
  self.api:begin(state, state.services[first.namespace .. "/" .. first.name], {})
  local ok, list = pcall(policy.place, group, nodes, self.api.cluster)
  if not ok then return nil, type(list) == "string" and list or policy.file .. ": place raised a " .. type(list) end
  local names, message = read_ranking(list, known)
  if not names then return nil, policy.file .. ": " .. message end
  return names
end

return trusted
