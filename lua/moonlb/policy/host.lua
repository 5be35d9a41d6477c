--- The policy host: asks the policy that is in charge, checks what it decided, and falls back when it fails.
--
-- A policy may be wrong, never unsafe. Whatever a back end says is judged here by the controller's own tables: real
-- unicast addresses, of families that fit, not excluded, held by nobody else unless both may share.
-- @module moonlb.policy.host
local address = require("moonlb.core.address")
local clean = require("moonlb.clean")
local family = require("moonlb.allocator.family")
local fields = require("moonlb.allocator.fields")
local histogram = require("moonlb.histogram")
local runtime = require("moonlb.core.runtime")
local sanitizer = require("moonlb.policy.outcome")
local trusted = require("moonlb.policy.trusted")

local host = {}

local Host = { __name = "moonlb.policy.host" }
Host.__index = Host

local STOCK = "default"
local MAX_ADDRESSES, MAX_PLACES = 32, 3
-- A policy that failed FAILURES times in a row within WINDOW seconds is benched: not asked for BENCH seconds, the next
-- time twice as long, at most MAX_BENCH. Behind a bench it has one try.
local FAILURES, WINDOW, BENCH, MAX_BENCH = 5, 60, 10, 600
-- A decision that took a while is asked for again when what it gives was taken meanwhile, so often.
local ATTEMPTS = 3

--- @tparam table options  `now`: seconds of a clock that never jumps; `fallback`: `"default"` (the stock policy
-- decides where one failed) or `"pending"`; `stock`: text of the stock policy, else the binary's; `http`: of
-- `trusted.new`
-- @treturn Host  in which the stock policy is loaded; `failures`: {name of a policy = how often it failed};
-- `durations`: {name = moonlb.histogram of the seconds that its decisions took}
function host.new(options)
  local self = setmetatable({ now = options.now or os.time, fallback = options.fallback or STOCK, backends = {},
    trusted = trusted.new({ http = options.http }), policies = {}, following = {}, bench = {}, missing = {},
    failures = {}, durations = {} }, Host)
  local text = options.stock or assert(runtime.source("policies/default.lua"), "the stock policy is not in the binary")
  assert(self:load(STOCK, text, "policies/default.lua"))
  return self
end

--- Put a policy in charge that a back end has loaded.
-- @tparam string name
-- @tparam table loaded  what the back end said of it
-- @tparam string file
-- @tparam table backend
function Host:install(name, loaded, file, backend)
  local old = self.policies[name]
  if old and old.backend ~= backend then old.backend:forget(name) end
  self.policies[name] = { backend = backend, file = file, tests = loaded.tests, rules = loaded.rules,
    has_place = loaded.has_place }
  self.bench[name], self.missing[name] = nil, nil
end

--- Load a policy, or put a new text in its place. The old one stays when the new one is bad.
-- @tparam string name  by which the ConfigMap's keys `policy` and `policy-<namespace>` choose it
-- @tparam string text  Lua source
-- @tparam string file  for messages
-- @tparam[opt] table backend  where it runs; in this process when absent (for what is part of the binary)
-- @treturn table|nil  what the back end says of it (`tests`, `rules`); or nil and what is wrong
function Host:load(name, text, file, backend)
  backend = backend or self.trusted
  local loaded, message, code = backend:load(name, text, file)
  if not loaded then return nil, message, code end
  self:install(name, loaded, file, backend)
  return loaded
end

--- Forget a policy that is no longer there.
function Host:forget(name)
  local policy = self.policies[name]
  self.policies[name], self.bench[name], self.missing[name] = nil, nil, nil
  if policy then policy.backend:forget(name) end -- who waits for it is answered by this, and asks anew
end

-- Policies that are part of the binary are loaded when they are first asked for.
local function find(self, name)
  if self.policies[name] or self.missing[name] then return self.policies[name] end
  local file = ("policies/%s.lua"):format(name)
  local text = name:find("^[%w_-]+$") and runtime.source(file)
  if text then assert(self:load(name, text, file)) else self.missing[name] = true end
  return self.policies[name]
end

--- A policy: `{file=, tests=, rules=, has_place=, backend=}`; nil when there is none of that name.
function Host:policy(name)
  return find(self, name)
end

--- Feed a back end from now on, which is in charge of nothing yet.
function Host:follow(backend)
  self.following[backend] = true
end

--- End `follow`.
function Host:unfollow(backend)
  self.following[backend] = nil
end

--- Tell the back ends that keep a replica what changed: `operation` is a method of `moonlb.allocator.state`.
function Host:feed(operation, ...)
  local told = {}
  for backend in pairs(self.following) do
    told[backend] = true
    backend:feed(operation, ...)
  end
  for _, policy in pairs(self.policies) do
    if policy.backend.feed and not told[policy.backend] then
      told[policy.backend] = true
      policy.backend:feed(operation, ...)
    end
  end
end

local function is_benched(self, name)
  local bench = self.bench[name]
  return bench ~= nil and bench.ends ~= nil and self.now() < bench.ends
end

local function count_failure(self, name)
  local now, bench = self.now(), self.bench[name]
  self.failures[name] = (self.failures[name] or 0) + 1
  if name == STOCK then return end
  if not bench or now - math.max(bench.since, bench.ends or 0) > WINDOW then
    bench = { failures = 0, seconds = BENCH, since = now }
    self.bench[name] = bench
  end
  bench.failures = bench.failures + 1
  if bench.failures < FAILURES then return end
  bench.ends = now + bench.seconds
  bench.failures, bench.seconds = FAILURES - 1, math.min(bench.seconds * 2, MAX_BENCH)
end

--- Seconds for which a policy is not asked, because it failed again and again; nil when it is asked.
function Host:benched(name)
  return is_benched(self, name) and self.bench[name].ends - self.now() or nil
end

-- The addresses of an outcome, each looked at as if an enemy had written it; nil and why not.
local function canonical_addresses(outcome)
  local list, seen = {}, nil
  if type(outcome.addresses) ~= "table" then return nil, "a decision without addresses" end
  for i = 1, math.min(rawlen(outcome.addresses), MAX_ADDRESSES + 1) do
    local text = outcome.addresses[i]
    if type(text) ~= "string" then return nil, ("an address that is a %s"):format(type(text)) end
    local item, message = address.canonical(text)
    if not item then return nil, ("%q is %s"):format(clean.line(text, 60), message) end
    if i > 1 then
      seen = seen or { [list[1]] = true }
      if seen[item] then return nil, item .. " is there twice" end
      seen[item] = true
    end
    list[i] = item
  end
  if #list == 0 then return nil, "a decision without addresses" end
  if #list > MAX_ADDRESSES then return nil, ("more than %d addresses"):format(MAX_ADDRESSES) end
  return list
end

local function check_addresses(state, record, outcome)
  local list, fault = canonical_addresses(outcome)
  if not list then return nil, fault end
  for _, item in ipairs(list) do
    local ok, why = state:usable(record, item)
    if not ok then return nil, why end
    if outcome.kind == "share" and not state:is_shared(record, { item }) then
      return nil, "nobody holds " .. item .. ", so it cannot be shared"
    end
  end
  local fits, misfit = family.fits(record.wanted, list)
  if not fits then return nil, misfit end
  return list
end

local function asks_for_dhcpv6(record)
  for _, item in ipairs(record.request or {}) do
    if item == fields.DHCPV6 then return true end
  end
  return false
end

local function check_dhcp(record)
  if record.wanted.mode == "one" and record.wanted.order[1] == 6 then
    if asks_for_dhcpv6(record) then return { fields.DHCPV6 } end
    return nil, "DHCP gives IPv4 addresses, but the Service is IPv6 only; ask for :: to have DHCPv6"
  end
  if record.wanted.mode == "require" then
    return nil, "DHCP gives IPv4 addresses, but the Service is RequireDualStack"
  end
  return { fields.DHCP }
end

local function where(outcome)
  if not outcome.file then return nil end
  return outcome.line and outcome.file .. ":" .. outcome.line or outcome.file
end

local function fault(name, outcome, reason)
  return { policy = name, rule = outcome.rule, where = where(outcome), reason = reason }
end

-- Judge an outcome: {kind=assign|dhcp|refuse|pass|error, addresses=, reason=, fault=}.
local function judge(state, record, name, outcome)
  local kind = outcome.kind
  if kind == "error" then return "error", nil, fault(name, outcome, outcome.reason) end
  if kind == "refuse" or kind == "pass" then return kind end
  local list, why
  if kind == "dhcp" then
    list, why = check_dhcp(record)
  elseif kind == "use" or kind == "share" then
    list, why = check_addresses(state, record, outcome)
  else
    return "error", nil, fault(name, outcome, "an outcome of no known kind")
  end
  if list then return kind == "dhcp" and "dhcp" or "assign", list end
  return "rejected", nil, fault(name, outcome, why)
end

--- Judge what a back end said of a Service, as every decision is judged, and do nothing about it.
-- @tparam State state
-- @tparam table record  of the Service
-- @tparam string name  of the policy
-- @tparam table outcome
-- @treturn string  verdict: assign, dhcp, refuse, pass, error or rejected
-- @treturn table|nil  addresses
-- @treturn table|nil  `{policy=, rule=, where=, reason=}` of a failure (error or rejected)
host.judge = judge

-- An outcome becomes what the engine gets to see.
local function conclude(name, outcome, verdict, addresses, failure)
  outcome.verdict, outcome.addresses, outcome.failure, outcome.policy = verdict, addresses, failure, name
  if failure then outcome.reason = failure.reason end
  return outcome
end

-- What a back end says. In a dry run nobody outside is asked, and it is no measure of how long decisions take.
local function outcome_of(self, name, backend, request, state)
  if self.is_dry and backend.rehearse then return backend:rehearse(name, { request }, state)[1] or {} end
  if self.is_dry then return backend:decide(name, request, state) end
  local began = self.now()
  local outcome = backend:decide(name, request, state)
  self.durations[name] = self.durations[name] or histogram.new()
  self.durations[name]:observe(self.now() - began)
  return outcome
end

-- Ask until what is given is still there when the answer comes: a back end may take its time.
local function ask_and_judge(self, name, request, state)
  for attempt = 1, ATTEMPTS do
    local policy = self.policies[name]
    local record, version = state.services[request.key], state.ownership.version
    local outcome = outcome_of(self, name, policy.backend, request, state)
    local code = type(outcome) == "table" and outcome.code
    if self.policies[name] ~= policy or code == "ECANCELED" then return {}, "superseded" end
    if policy.backend ~= self.trusted then outcome = sanitizer.sanitize(outcome, policy.file) end
    if state.services[request.key] ~= record then return outcome, "superseded" end
    local verdict, addresses, failure = judge(state, record, name, outcome)
    if failure then failure.is_excused = code == "EMSGSIZE" or nil end
    if verdict ~= "rejected" or state.ownership.version == version or attempt == ATTEMPTS then
      return outcome, verdict, addresses, failure
    end
  end
end

-- A policy that fails again and again is benched, one that decides is forgiven; neither by a dry run.
local function keep_account(self, name, verdict, failure)
  if self.is_dry then return end
  if verdict == "error" or (verdict == "rejected" and name ~= STOCK) then
    if not failure.is_excused then count_failure(self, name) end
  elseif verdict ~= "superseded" then
    self.bench[name] = nil
  end
end

-- Ask one policy. The DHCP of a user's own wish that does not fit is refused, not the policy's failure.
local function ask(self, name, request, state)
  local outcome, verdict, addresses, failure = ask_and_judge(self, name, request, state)
  keep_account(self, name, verdict, failure)
  if verdict == "rejected" and name == STOCK then
    local result = conclude(name, outcome, "refuse", nil, nil)
    result.reason = failure.reason
    return result
  end
  return conclude(name, outcome, verdict, addresses, failure)
end

local function fall_back(self, failed, request, state)
  if self.fallback ~= STOCK or failed.policy == STOCK then
    return conclude(failed.policy, { trace = failed.trace }, "refuse", nil, failed)
  end
  local result = ask(self, STOCK, request, state)
  result.failure = failed
  return result
end

--- Decide one Service. Inside a task when the policy's back end waits.
-- @tparam string name  of the policy
-- @tparam table request  see `trusted.decide`
-- @tparam State state
-- @treturn table  `verdict`: assign, dhcp, refuse (a rule refused), rejected (the check did), pass (no rule
-- decided), superseded (the Service changed or went while its policy was asked: decide again on what it is now);
-- `addresses`; `policy` and `rule` that decided; `reason`; `trace`; `exhausted`; `hostname`; `failure`: `{policy=,
-- rule=, where=, reason=}` when the policy asked first failed
function Host:decide(name, request, state)
  local policy = find(self, name)
  if not policy then
    return fall_back(self, { policy = name, trace = {}, reason = "there is no policy of that name" }, request, state)
  end
  if is_benched(self, name) then
    return fall_back(self, { policy = name, where = policy.file, trace = {},
      reason = "it failed again and again and is not asked for a while" }, request, state)
  end
  local result = ask(self, name, request, state)
  if result.verdict ~= "error" then return result end
  result.failure.trace, result.failure.is_from_outside = result.trace, result.is_from_outside
  return fall_back(self, result.failure, request, state)
end

-- The names go into an annotation: those of nodes that there are alone, each once.
local function known_nodes(names, state)
  local list, seen = {}, {}
  for i = 1, #names do
    local name = names[i]
    if type(name) == "string" and state.nodes[name] and not seen[name] and #list < MAX_PLACES then
      list[#list + 1], seen[name] = name, true
    end
  end
  return list
end

--- The same policies for those who only look: what `decide` says leaves no mark, and nobody outside is asked for it
-- (then `http.get` fails, and the result or its failure has `is_from_outside`).
-- @treturn Host
function Host:dry()
  return setmetatable({ is_dry = true }, { __index = self })
end

--- Ask a policy where a group shall live. Inside a task when the policy's back end waits.
-- @tparam string name  of the policy
-- @tparam table group, nodes  see `Trusted.place`
-- @tparam State state
-- @treturn table|nil  up to three names of nodes, best first; nil when the policy has no `place`, is benched or failed
-- @treturn table|nil  `{policy=, rule="place", where=, reason=}` when it failed
function Host:place(name, group, nodes, state)
  local policy = find(self, name)
  if not policy or not policy.has_place or is_benched(self, name) then return nil end
  local names, message = policy.backend:place(name, group, nodes, state)
  if names then return known_nodes(names, state) end
  count_failure(self, name)
  return nil, { policy = name, rule = "place", where = policy.file, reason = message }
end

return host
