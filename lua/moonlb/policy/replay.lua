--- The dry run before a policy is swapped: the Services that it decides are decided anew on a copy of what is, beside
-- the loop's work, by the version in use and by the new one. Nothing is written, and nobody outside is asked.
-- @module moonlb.policy.replay
local async = require("moonlb.async")
local engine = require("moonlb.allocator.engine")
local fields = require("moonlb.allocator.fields")
local service = require("moonlb.allocator.service")
local uv = require("luv")

local replay = {}

-- Work of one turn of the loop, seconds; Services decided together.
local TURN, BATCH = 0.003, 12
-- Growth of the heap until the collector is given a cycle.
local GROWTH = 1.25
-- Items that are sorted in one go.
local RUN = 256

local function is_over_since(began)
  return (uv.hrtime() - began) / 1e9 >= TURN
end

-- A whole cycle of the collector in slices, while nothing is allocated here.
local function collect()
  local is_done
  repeat
    local began = uv.hrtime()
    repeat is_done = collectgarbage("step", 0) until is_done or is_over_since(began)
    async.sleep(0)
  until is_done
end

-- Gives the loop a turn when this one had its share of time, and the collector its own turns.
local function pacer()
  local began, most = uv.hrtime(), collectgarbage("count") * GROWTH
  return function()
    if not is_over_since(began) then return end
    async.sleep(0)
    if not collectgarbage("isrunning") and collectgarbage("count") > most then
      collect()
      most = collectgarbage("count") * GROWTH
    end
    began = uv.hrtime()
  end
end

local stopped = 0

local function restart_collector()
  stopped = stopped - 1
  if stopped == 0 then collectgarbage("restart") end
end

--- What is allocated while the collector marks, it marks in one go at the end: with a copy of 10,000 Services that
-- holds the loop for 100 ms. So a dry run stops it, and lets it do whole cycles in pauses of its own.
-- @treturn table  to be closed: then the collector goes on by itself
function replay.hold_collector()
  stopped = stopped + 1
  collectgarbage("stop")
  return setmetatable({}, { __close = restart_collector })
end

-- Two sorted lists as one.
local function merge(a, b, is_before, pace)
  local result, i, j = {}, 1, 1
  for n = 1, #a + #b do
    local x, y = a[i], b[j]
    if y == nil or (x ~= nil and not is_before(y, x)) then
      result[n], i = x, i + 1
    else
      result[n], j = y, j + 1
    end
    if n % RUN == 0 then pace() end
  end
  return result
end

-- table.sort in slices: 10,000 Services in one go would hold the loop.
local function sorted(list, is_before, pace)
  local runs = {}
  for first = 1, #list, RUN do
    local run = table.move(list, first, math.min(first + RUN - 1, #list), 1, {})
    table.sort(run, is_before)
    runs[#runs + 1] = run
    pace()
  end
  while #runs > 1 do
    local merged = {}
    for i = 1, #runs, 2 do
      merged[#merged + 1] = runs[i + 1] and merge(runs[i], runs[i + 1], is_before, pace) or runs[i]
    end
    runs = merged
  end
  return runs[1] or {}
end

local function policy_of(live, record)
  return live.settings.policy or live.state.config:policy(record.namespace)
end

-- A pool gave the Service its address: the policy's own doing, and not its user's.
local function is_given(record)
  if record.why_ignored or record.is_deleting or not record.assigned or record.is_edited then return false end
  local rule = record.by and record.by:match("([^/]*)$")
  return rule ~= nil and rule ~= "static" and rule ~= "dhcp" and not service.is_unspecified(record.assigned[1])
end

-- The keys of a table, so that it may change while they are gone through in slices.
local function keys_of(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  return keys
end

--- The Services whose address a policy would decide, were they new. Inside a task.
-- @tparam Engine live
-- @tparam string name  of the policy
-- @treturn table  {key = addresses as text}
-- @treturn number  how many
function replay.concerned(live, name)
  local result, count, pace = {}, 0, pacer()
  for _, key in ipairs(keys_of(live.state.services)) do
    local record = live.state.services[key]
    if record and policy_of(live, record) == name and is_given(record) then
      result[key], count = table.concat(record.assigned, ","), count + 1
    end
    pace()
  end
  return result, count
end

local function without(map, ...)
  local result = {}
  for name, value in pairs(map) do result[name] = value end
  for i = 1, select("#", ...) do result[select(i, ...)] = nil end
  return result
end

-- The object as its user made it.
local function stripped(object)
  local metadata = without(object.metadata)
  metadata.annotations = without(metadata.annotations, fields.ASSIGNED, fields.ADDRESSES, fields.PLACE)
  metadata.labels = without(metadata.labels, fields.LABEL)
  return { kind = "Service", metadata = metadata, spec = without(object.spec, "loadBalancerIP") }
end

-- An engine that knows what the live one knows, but for the addresses of some Services.
local function copy_of(live, host, keys, pace)
  local brain = engine.new({ now = live.state.ownership.now, utc = live.state.ownership.utc, host = host,
    settings = live.settings })
  brain:set_configmap(live.state.configmap)
  for _, key in ipairs(keys_of(live.state.services)) do
    local record = live.state.services[key]
    if record then brain:set_service(keys[key] and stripped(record.object) or record.object) end
    pace()
  end
  for _, entry in ipairs(live.state.ownership.exclusions) do
    if not entry.reason:find("^address of node ") then brain:exclude(entry.text, entry.reason) end
  end
  for _, name in ipairs(keys_of(live.state.nodes)) do
    if live.state.nodes[name] then brain:set_node(live.state.nodes[name].object) end
    pace()
  end
  return brain
end

-- Decide some at once, so that a worker gets them in one message.
local function decide_batch(brain, batch, results)
  local tasks = {}
  for i, key in ipairs(batch) do
    tasks[i] = async.run(function()
      local decision = brain:decide(key)
      results[key] = decision
      if decision and decision.addresses[1] and decision.action ~= "keep" then brain:reserve(key, decision) end
    end)
  end
  for _, task in ipairs(tasks) do task:join() end
end

--- Decide Services anew, inside a task.
-- @tparam Engine live
-- @tparam Host host  in which the policy is loaded, and which is used for nothing else
-- @tparam table keys  {key = anything}: of the Services
-- @tparam[opt] function is_over  asked between batches: whether to give up
-- @treturn table|nil  {key = decision, see `Engine.decide`}; nil when given up
function replay.run(live, host, keys, is_over)
  local _ <close> = replay.hold_collector()
  local pace = pacer()
  local brain = copy_of(live, host, keys, pace)
  local order, results, batch = {}, {}, {}
  for key in pairs(keys) do
    if brain.state.services[key] then order[#order + 1] = brain.state.services[key] end
  end
  order = sorted(order, service.is_older, pace)
  for i, record in ipairs(order) do
    batch[#batch + 1] = record.key
    if #batch == BATCH or i == #order then
      decide_batch(brain, batch, results)
      batch = {}
      pace()
      if is_over and is_over() then return nil end
    end
  end
  return results
end

local function show(decision)
  if not decision then return nil end
  return decision.addresses[1] and table.concat(decision.addresses, ",") or "pending"
end

--- Who would differ. Inside a task.
-- @tparam table have  {key = text}: what the Services have
-- @tparam table|nil before  decisions of the version in use; nil: there is none, and what they have counts
-- @tparam table after  decisions of the new one
-- @treturn table  array of `{key=, before=, after=}`, by key; those that an answer from outside decides are left out
-- @treturn table|nil  the first decision in which the new version failed, by key
-- @treturn number  in how many it failed
function replay.compare(have, before, after)
  local differences, first, failures, pace = {}, nil, 0, pacer()
  for key, text in pairs(have) do
    local new, old = after[key], before and before[key]
    if new and new.failure then
      failures = failures + 1
      if not first or key < first.namespace .. "/" .. first.name then first = new end
    end
    local is_known = new and not new.is_from_outside and not (old and old.is_from_outside)
    local was = before and show(old) or text
    if is_known and show(new) ~= was then
      differences[#differences + 1] = { key = key, before = was, after = show(new) }
    end
    pace()
  end
  differences = sorted(differences, function(a, b) return a.key < b.key end, pace)
  return differences, first, failures
end

return replay
