--- The back end for mounted policies: each runs in a worker process of its own, so what one does costs its own
-- decisions and nothing else. The same calls as `moonlb.policy.trusted`, inside tasks of `moonlb.async`: `load` and
-- `decide` wait. Decisions that are asked for while the worker is busy go to it together, up to 100 in one message.
-- @module moonlb.policy.worker
local async = require("moonlb.async")
local cjson = require("cjson.safe")
local session = require("moonlb.policy.worker_session")

local worker = {}

local Worker = { __name = "moonlb.policy.worker" }
Worker.__index = Worker

local BATCH, MAX_TEXT = 100, 1 << 20
-- A decision asks outside this often, and takes this long, at most.
local MAX_OUTSIDE, MAX_SECONDS = 8, 30
-- Services of one batch that may each kill a worker before the rest is given up.
local MAX_KILLS = 2
local NOBODY = { ask = function() return { error = "nobody is asked here" } end }

--- @tparam table options  `settings`, `now`, `utc`: as of `moonlb.allocator.state`; `http`: see `moonlb.policy.http`,
-- every `http.get` fails without; `limits`, `start`: see `worker_session.new`
-- @treturn Worker
function worker.new(options)
  return setmetatable({ options = options, http = options.http or NOBODY, policies = {} }, Worker)
end

local function new_entry(self, name, text, file)
  local options = self.options
  local own = session.new({ name = name, text = text, file = file, settings = options.settings, now = options.now,
    utc = options.utc, limits = options.limits, start = options.start })
  return { name = name, file = file, waiting = {}, session = own }
end

local function put(self, name, entry)
  local old = self.policies[name]
  self.policies[name] = entry
  if old then old.session:close() end	-- who waits for it is answered by this, and asks the new one
end

--- Compile a policy in a worker of its own and look at what it returns. The one of that name before it stays when
-- this one is bad.
-- @tparam string name  under which it is chosen
-- @tparam string text  Lua source, at most 1 MiB
-- @tparam string file  for messages
-- @treturn table|nil  `{name=, file=, tests=, rules=names, has_place=}`; or nil, what is wrong, with file and line,
-- and a code
function Worker:load(name, text, file)
  if #text > MAX_TEXT then return nil, ("%s: %d bytes, at most %d"):format(file, #text, MAX_TEXT), "EFBIG" end
  local entry = new_entry(self, name, text:gsub("^\239\187\191", ""), file)
  local loaded, message, code = entry.session:open()
  if not loaded then
    entry.session:close()
    return nil, message, code
  end
  put(self, name, entry)
  return { name = name, file = file, tests = loaded.tests, rules = loaded.rules, has_place = loaded.has_place }
end

--- Take over a policy that another Worker has loaded, with its process and its replica. The one of that name before it
-- ends.
function Worker:adopt(other, name)
  local entry = other.policies[name]
  other.policies[name] = nil
  put(self, name, entry)
end

--- Whether a policy is loaded.
function Worker:has(name)
  return self.policies[name] ~= nil
end

--- Take a policy out and kill its worker; decisions that it owes end with ECANCELED.
function Worker:forget(name)
  local entry = self.policies[name]
  self.policies[name] = nil
  if entry then entry.session:close() end
end

--- Kill all workers.
function Worker:close()
  for name in pairs(self.policies) do self:forget(name) end
end

--- Tell the replicas what changed. `operation` is a method of `moonlb.allocator.state`, or exclude, unexclude or rest
-- of its ownership.
function Worker:feed(operation, ...)
  for _, entry in pairs(self.policies) do entry.session:feed(operation, ...) end
end

local function failed(entry, message, code)
  return { kind = "error", file = entry.file, reason = message, code = code, trace = {} }
end

local function requests_of(batch)
  local requests = {}
  for i, item in ipairs(batch) do requests[i] = item.request end
  return requests
end

-- Each by itself, to find the one that kills: the others must not pay for it.
local function ask_alone(entry, requests, state, message, code)
  local outcomes, kills = {}, 0
  for i, request in ipairs(requests) do
    local one
    if kills < MAX_KILLS then
      one, message, code = entry.session:ask({ request }, state)
      if not one then kills = kills + 1 end
    end
    outcomes[i] = one and one[1] or failed(entry, message, code)
  end
  return outcomes
end

-- Up to a batch of requests. An outcome for each; or, `to_first_end`, up to the one whose call a limit ended.
local function ask_all(entry, requests, state, to_first_end)
  local outcomes = {}
  while #outcomes < #requests and not (to_first_end and outcomes[1]) do
    local rest = outcomes[1] and table.move(requests, #outcomes + 1, #requests, 1, {}) or requests
    local some, message, code = entry.session:ask(rest, state)
    if not some then
      some = #rest > 1 and ask_alone(entry, rest, state, message, code) or { failed(entry, message, code) }
    end
    table.move(some, 1, #some, #outcomes + 1, outcomes)
  end
  return outcomes
end

-- While something waits: take up to a batch of it and ask.
local function pump(entry)
  while entry.waiting[1] do
    local batch = table.move(entry.waiting, 1, math.min(BATCH, #entry.waiting), 1, {})
    entry.waiting = table.move(entry.waiting, #batch + 1, #entry.waiting, 1, {})
    local outcomes = ask_all(entry, requests_of(batch), batch[1].state)
    for i, item in ipairs(batch) do item.resume(outcomes[i]) end
  end
  entry.is_pumping = false
end

local function enqueue(entry, request, state, resume)
  entry.waiting[#entry.waiting + 1] = { request = request, state = state, resume = resume }
  if entry.is_pumping then return end
  entry.is_pumping = true
  async.run(function()
    async.sleep(0)	-- whatever asks in the same turn of the loop goes along
    pump(entry)
  end)
end

local function not_loaded(name)
  return { kind = "error", reason = "policy " .. name .. " is not loaded", code = "ENOENT", trace = {} }
end

-- What the policy gets: `{status=, body=, json=}` or `{error=}`.
local function ask_outside(http, outcome)
  local answer = http.ask(outcome.url, outcome.timeout)
  if answer.error then return { error = answer.error } end
  local json = cjson.decode(answer.body)
  return { status = answer.status, body = answer.body, json = type(json) == "table" and json or nil }
end

-- An outcome that waits for an answer from outside: get the answer and ask again, inside a task, until it is another.
local function follow_up(self, http, entry, outcome, request, state)
  local own = { key = request.key, request = request.request, request_error = request.request_error,
    is_anew = request.is_anew, is_dry_run = request.is_dry_run, http = {} }
  local deadline = self.options.now() + MAX_SECONDS
  for _ = 1, MAX_OUTSIDE do
    own.http[outcome.url] = ask_outside(http, outcome)
    if self.options.now() > deadline then return failed(entry, "asked outside for too long", "ETIMEDOUT") end
    local message, code
    outcome, message, code = async.await(function(resume) enqueue(entry, own, state, resume) end)
    if not outcome then return failed(entry, message, code) end
    if outcome.kind == "same" then return outcome end
    outcome.is_from_outside = true
    if outcome.kind ~= "http" then return outcome end
  end
  return failed(entry, ("asked outside more than %d times"):format(MAX_OUTSIDE), "E2BIG")
end

--- Ask a policy about one Service, inside a task.
-- @tparam string name  of the policy
-- @tparam table request  `key`, `request`, `request_error`
-- @tparam State state  the worker's replica is brought up to date with it
-- @treturn table  the outcome, as of `moonlb.policy.trusted`; of kind `error` with `code` when the worker ended:
-- `EKILLED`, `ETIMEDOUT`,
-- `EBADMSG`, `ENOEXEC`; `ECANCELED` when the policy was taken out; `EMSGSIZE` when the request is too large
function Worker:decide(name, request, state)
  local entry = self.policies[name]
  if not entry then return not_loaded(name) end
  local outcome, message, code = async.await(function(resume)
    enqueue(entry, request, state, resume)
  end)
  if not outcome then return failed(entry, message, code) end
  if outcome.kind == "http" then return follow_up(self, self.http, entry, outcome, request, state) end
  return outcome
end

--- Ask a policy about several Services at once, inside a task; each is as if those before it had got what was
-- decided.
-- @treturn table  outcomes, in the order of `requests`
function Worker:decide_batch(name, requests, state)
  local entry, outcomes, left = self.policies[name], {}, #requests
  for i = 1, entry and 0 or left do outcomes[i] = not_loaded(name) end
  if left == 0 or not entry then return outcomes end
  async.await(function(resume)
    local function take(i, outcome)
      outcomes[i], left = outcome, left - 1
      if left == 0 then resume(true) end
    end
    for i, request in ipairs(requests) do
      enqueue(entry, request, state, function(outcome)
        if outcome.kind ~= "http" then return take(i, outcome) end
        async.run(function() take(i, follow_up(self, self.http, entry, outcome, request, state)) end)
      end)
    end
  end)
  return outcomes
end

--- Ask a policy about up to 100 Services in a dry run, inside a task: nothing comes of it, and nobody outside is asked.
-- @tparam table requests  as of `decide`; with `is_anew`: a Service that has addresses, as if it had been made just now
-- @treturn table  outcomes, in the order of `requests`, none after the first that a limit ended; of kind `same`: with
-- `is_anew`, what the Service has
function Worker:rehearse(name, requests, state)
  local entry = self.policies[name]
  if not entry then return {} end
  local outcomes = ask_all(entry, requests, state, true)
  for i, outcome in ipairs(outcomes) do
    if outcome.kind == "http" then outcomes[i] = follow_up(self, NOBODY, entry, outcome, requests[i], state) end
  end
  return outcomes
end

--- Ask a policy that has `place` where a group shall live, inside a task. Arguments as of `moonlb.policy.trusted`; the
-- nodes are those of the worker's replica.
-- @treturn table|nil  names of nodes, at most 3, best first; or nil, what is wrong, with file and line, and a code
function Worker:place(name, group, _, state)
  local entry = self.policies[name]
  if not entry then return nil, not_loaded(name).reason, "ENOENT" end
  return entry.session:place(group, state)
end

--- Let a policy's replica begin anew, inside a task: what is asked next is about another state.
function Worker:reset(name)
  local entry = self.policies[name]
  if not entry then return nil, not_loaded(name).reason, "ENOENT" end
  return entry.session:reset()
end

--- What people see of a policy's worker: `{pid=, starts=, deaths=, services=}`.
function Worker:describe(name)
  local entry = self.policies[name]
  local own = entry and entry.session
  if not own then return nil end
  return { pid = own.worker and own.worker:pid(), starts = own.starts, deaths = own.deaths, services = own.known_count }
end

return worker
