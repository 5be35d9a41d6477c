--- The dry run before a policy is swapped: every Service that it decides is decided as if it had been made just now,
-- each by itself, all others being as they are. The back end's replica of the cluster is the one it goes on with when
-- the policy is taken; nothing is written, and nobody outside is asked.
-- @module moonlb.policy.replay
local async = require("moonlb.async")
local placing = require("moonlb.allocator.placing")
local policy_host = require("moonlb.policy.host")
local service = require("moonlb.allocator.service")

local replay = {}

--- Services that a report names.
replay.NAMED = 5

-- Services that are looked at in one turn of the loop; that are decided together; that are placed at most.
local SLICE, BATCH, PLACED = 250, 100, 50
-- A decision that no longer fits, since the cluster changed meanwhile, is asked for again, so often.
local ATTEMPTS = 3

local function policy_of(live, record)
  return live.settings.policy or live.state.config:policy(record.namespace)
end

-- A pool gave the Service its address: the policy's own doing, and not its user's.
local function is_given(record)
  if not record.assigned or record.is_edited then return false end
  local rule = record.by and record.by:match("([^/]*)$")
  return rule ~= nil and rule ~= "static" and rule ~= "dhcp" and not service.is_unspecified(record.assigned[1])
end

-- What there is to try for a Service; nil when nothing is.
local function case_of(record)
  if record.why_ignored or record.is_deleting or record.reserved then return nil end
  if is_given(record) then
    return { key = record.key, record = record, has = table.concat(record.assigned, ",") }
  end
  if record.assigned then return nil end
  return { key = record.key, record = record, request = record.request, request_error = record.request_error }
end

--- The Services that a policy decides: those that have an address by it, and those that wait for one. Inside a task.
-- @tparam Engine live
-- @tparam string name  of the policy
-- @treturn table  array of `{key=, record=, has=addresses as text|nil, request=, request_error=}`
function replay.cases(live, name)
  local keys, cases = {}, {}
  for key in pairs(live.state.services) do keys[#keys + 1] = key end
  for i, key in ipairs(keys) do
    local record = live.state.services[key]
    cases[#cases + 1] = record and policy_of(live, record) == name and case_of(record) or nil
    if i % SLICE == 0 then async.sleep(0) end
  end
  return cases
end

local function requests_of(cases)
  local requests = {}
  for i, case in ipairs(cases) do
    requests[i] = { key = case.key, request = case.request, request_error = case.request_error,
      is_anew = case.has ~= nil or nil, is_dry_run = true }
  end
  return requests
end

-- Decide some by a policy; into `results` goes, for those that would not get what they have, `{addresses=text|nil,
-- failure=|nil, is_from_outside=|nil}`. Returns those whose decision did not fit and may do so now: the cluster changed
-- meanwhile.
local function try_batch(state, policy, cases, results)
  local version, again = state.ownership.version, {}
  for i, outcome in ipairs(policy.backend:rehearse(policy.name, requests_of(cases), state)) do
    local case = cases[i]
    local record = state.services[case.key]
    if record == case.record and outcome.kind ~= "same" and outcome.code ~= "EMSGSIZE" then
      local verdict, addresses, failure = policy_host.judge(state, record, policy.name, outcome)
      results[case.key] = { addresses = addresses and table.concat(addresses, ",") or nil, failure = failure,
        is_from_outside = outcome.is_from_outside }
      if verdict == "rejected" and state.ownership.version ~= version then again[#again + 1] = case end
    end
  end
  return again
end

local function rehearse(state, policy, cases)
  local results = {}
  for _ = 1, ATTEMPTS do
    cases = try_batch(state, policy, cases, results)
    if not cases[1] then break end
  end
  return results
end

-- The first few of many, by key.
local function keep_first(list, item)
  local at = #list + 1
  while at > 1 and item.key < list[at - 1].key do at = at - 1 end
  if at <= replay.NAMED then table.insert(list, at, item) end
  list[replay.NAMED + 1] = nil
end

local function tally(report, case, old, new)
  local was, is = old.addresses or "pending", new.addresses or "pending"
  if new.failure and not old.failure then
    report.failed = report.failed + 1
    keep_first(report.failures, { key = case.key, failure = new.failure })
  elseif not new.failure and case.has and not old.is_from_outside and was ~= is then
    report.differ = report.differ + 1
    keep_first(report.differences, { key = case.key, before = was, after = is })
  end
end

-- Those that the new version would decide otherwise than they are: they alone are worth a look at the present one.
local function doubtful(cases, after)
  local list = {}
  for _, case in ipairs(cases) do
    local new = after[case.key]
    if new and (new.failure or (case.has and not new.is_from_outside)) then list[#list + 1] = case end
  end
  return list
end

--- Decide Services in a dry run, inside a task. The batch in which the new version fails is the last; Services that
-- change meanwhile are left out.
-- @tparam Engine live
-- @tparam table candidate  `{name=, file=, backend=}`: the new version
-- @tparam table|nil present  the version in charge; nil: there is none, and what the Services have counts
-- @tparam table cases  of `replay.cases`
-- @tparam function is_over  asked between batches: whether to give up
-- @treturn table  `tried`: how many Services; `failed`: in how many of them the new version fails and the present one
-- does not; `failures`: the first of those, by key: array of `{key=, failure=}`; `differ`, `differences`: where it
-- gives another address than that does: array of `{key=, before=, after=}`, without those that an answer from outside
-- decides
function replay.run(live, candidate, present, cases, is_over)
  local report = { tried = 0, failed = 0, failures = {}, differ = 0, differences = {} }
  for first = 1, #cases, BATCH do
    local batch = table.move(cases, first, math.min(first + BATCH - 1, #cases), 1, {})
    local after = rehearse(live.state, candidate, batch)
    local doubts = doubtful(batch, after)
    local before = present and doubts[1] and rehearse(live.state, present, doubts) or {}
    for _, case in ipairs(doubts) do
      tally(report, case, before[case.key] or { addresses = case.has }, after[case.key])
    end
    report.tried = report.tried + #batch
    if report.failed > 0 or is_over() then break end
  end
  return report
end

--- Let a policy rank nodes for some Services that have an address, inside a task.
-- @treturn table|nil  the first case in which it failed
-- @treturn string|nil  what was wrong, with file and line
function replay.place(live, policy, cases)
  local tried = 0
  for _, case in ipairs(cases) do
    local record = live.state.services[case.key]
    if tried == PLACED then break end
    if case.has and record and record.assigned then
      tried = tried + 1
      local group = placing.group(live.state, record, record.assigned)
      local names, message = policy.backend:place(policy.name, group, nil, live.state)
      if not names then return case, message end
    end
  end
  return nil
end

return replay
