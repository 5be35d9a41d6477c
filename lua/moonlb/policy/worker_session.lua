--- One mounted policy and the process it runs in: starts it, feeds its replica of the allocator's state, asks, and
-- starts it anew when
-- it died. One message is out at a time; whoever wants to ask meanwhile waits for its turn. All of it runs inside
-- tasks of `moonlb.async`.
-- @module moonlb.policy.worker_session
local answers = require("moonlb.policy.worker_answers")
local async = require("moonlb.async")
local core = require("moonlb.core.policy_worker")
local fields = require("moonlb.allocator.fields")
local log = require("moonlb.core.log")
local runtime = require("moonlb.core.runtime")

local session = {}

local Session = { __name = "moonlb.policy.worker_session" }
Session.__index = Session

local STOCK_FILE = "policies/default.lua"
local IS_OURS = {}
for _, name in pairs(fields) do IS_OURS[name] = true end
-- Bytes of a worker's Lua heap: for the policy, and for each Service of the replica.
local MEMORY, MEMORY_SERVICE = 16 * 1024 * 1024, 4096
-- Wall time of an answer, seconds. Of a decision: twice the CPU time at which a worker is killed, for a machine that
-- may be busy.
local LOAD_TIMEOUT, FEED_TIMEOUT, TIMEOUT, HARD_MS = 5, 5, 1, 100
-- A message's header and its array's, and what is left free for the first element.
local OVERHEAD = 512
-- Bytes of a policy's text that leave a message room for the rest of what is needed to load it.
local PIECE = 128 * 1024
-- Changes that may wait for the next question.
local QUEUE_MAX = 200
-- Bytes of an annotation that is left out where a Service would not fit into a message otherwise.
local LONG_ANNOTATION = 1024
-- Operations about a Service by its key.
local OF_A_SERVICE = { remove_service = true, reserve = true, release = true }
-- Pause before the next start after n deaths in a row: FIRST * 2^(n-1), at most LAST; a decision waits PATIENCE for
-- it.
local FIRST, LAST, PATIENCE = 0.05, 30, 1

--- @tparam table options  `name`, `file`, `text` of the policy; `settings` (see `service.read`); `now`, `utc`:
-- clocks; `limits`: of
-- `moonlb.core.policy_worker.start`; `start`: that function, or another in tests
-- @treturn Session
function session.new(options)
  return setmetatable({ name = options.name, file = options.file, text = options.text, settings = options.settings,
    now = options.now, utc = options.utc, limits = options.limits or {}, start = options.start or core.start,
    deaths = 0, starts = 0, queue = {}, turn = {}, known = {}, known_count = 0, left_out = {} }, Session)
end

-- Turns: the task that holds it may send. First come, first served.
local function take_turn(self)
  if not self.is_taken then
    self.is_taken = true
    return true
  end
  local place = {}
  local ok, message, code = async.await(function(resume)
    place.resume = resume
    table.insert(self.turn, place)
  end)
  place.is_given_up = not ok
  return ok, message, code
end

local function pass_turn(self)
  local place = table.remove(self.turn, 1)
  while place and place.is_given_up do place = table.remove(self.turn, 1) end
  self.is_taken = place ~= nil
  if place then place.resume(true) end
end

local function memory(self)
  return (self.limits.memory or MEMORY) + MEMORY_SERVICE * self.known_count
end

local function forget_worker(self)
  if self.worker then self.worker:close() end
  self.worker, self.is_fed, self.queue, self.known, self.known_count, self.left_out = nil, false, {}, {}, 0, {}
end

-- The worker died or must go: the next one waits a little longer each time.
local function on_death(self, err)
  forget_worker(self)
  self.deaths = self.deaths + 1
  self.next_start = self.now() + math.min(FIRST * 2 ^ (self.deaths - 1), LAST)
  self.last_death = err
  log.warn("policy worker ended", { policy = self.name, reason = err.message, code = err.code })
  local resume = self.awaiting
  self.awaiting = nil
  if resume then resume(nil, err.message, err.code) end
end

local function start_worker(self)
  self.starts = self.starts + 1
  local options = {}
  for name, value in pairs(self.limits) do options[name] = value end
  options.on_answer = function(kind, id, value)
    local resume = self.awaiting
    if id ~= self.asked then return self.worker:reject("the worker answered another question") end
    self.awaiting = nil
    if resume then resume(kind, value) end
  end
  options.on_end = function(err)
    self.worker = nil
    on_death(self, err)
  end
  local worker, message, code = self.start(options)
  if not worker then
    on_death(self, { message = message, code = code })
    return nil, message, code
  end
  self.worker = worker
  return true
end

-- Send a message. True, or nil, message, code: EMSGSIZE, or the end of a worker that takes none. Nobody waits for that
-- one to die: it may not.
local function post(self, kind, parts, timeout)
  self.asked = ((self.asked or 0) + 1) & 0xffffffff
  local ok, message, code = self.worker:send(kind, self.asked, parts, timeout)
  if not ok and code ~= "EMSGSIZE" then on_death(self, { message = message, code = code }) end
  return ok, message, code
end

-- Wait for the answer to what was sent: type and value, or nil, message, code when the worker ended.
local function await_answer(self)
  local answer, value, why = async.await(function(resume) self.awaiting = resume end)
  if not answer and why == "ECANCELED" then forget_worker(self) end	-- its answer would come to the next question
  return answer, value, why
end

local function exchange(self, kind, parts, timeout)
  local ok, message, code = post(self, kind, parts, timeout)
  if not ok then return nil, message, code end
  return await_answer(self)
end

-- What was answered made no sense: a worker that lies is killed. Its end has the text.
local function reject(self, why)
  if not self.worker then return nil, why, "EBADMSG" end
  self.worker:reject(why)
  return async.await(function(resume) self.awaiting = resume end)
end

-- Our own code in the worker failed, most likely for want of memory.
local function own_failure(self, value)
  forget_worker(self)
  return nil, "the worker failed: " .. tostring(value):sub(1, 200), "EPROTO"
end

local function clock(self)
  return core.pack({ now = self.now(), utc = self.utc(), memory = memory(self) })
end

local function describe(self, failure)
  local message = failure.message
  if failure.line > 0 and not message:find(":" .. failure.line .. ":", 1, true) then
    return ("%s:%d: %s"):format(self.file, failure.line, message)
  end
  return message:find(self.file, 1, true) == 1 and message or self.file .. ": " .. message
end

-- What does not fit into one message with the rest goes ahead, in pieces. What is left of the text; or nil, message,
-- code.
local function send_text(self)
  local from = 1
  while #self.text - from >= PIECE do
    local piece = core.pack(self.text:sub(from, from + PIECE - 1))
    local kind, value, code = exchange(self, "T", { piece }, LOAD_TIMEOUT)
    if not kind then return nil, value, code end
    if kind == "X" then return own_failure(self, value) end
    if kind ~= "T" then return reject(self, "the worker did not take the text of its policy") end
    from = from + PIECE
  end
  return self.text:sub(from)
end

local function load_policy(self)
  local rest, trouble, cause = send_text(self)
  if not rest then return nil, self.file .. ": " .. trouble, cause end
  local part, message, code = core.pack({ name = self.name, file = self.file, text = rest,
    settings = self.settings, memory = memory(self), stock = runtime.source(STOCK_FILE) })
  if not part then return nil, self.file .. ": " .. message, code end
  local kind, value, why = exchange(self, "L", { part }, LOAD_TIMEOUT)
  if not kind then return nil, self.file .. ": " .. value, why end
  if kind == "L" then
    local loaded = answers.loaded(value)
    if not loaded then return reject(self, "the worker sent no description of its policy") end
    loaded.file = self.file
    self.policy = loaded
    return loaded
  end
  local failure = kind == "E" and answers.failed(value)
  if kind == "X" and type(value) == "string" then failure = { message = "tests: " .. value:sub(1, 200), line = 0 } end
  if not failure then return reject(self, "the worker sent no description of its policy") end
  return nil, describe(self, failure), "EINVAL"
end

-- Wait out the pause after a death, if that is short.
local function wait_for_start(self)
  local pause = self.deaths > 0 and self.next_start - self.now() or 0
  if pause > PATIENCE then
    return nil, ("%s; the next start is in %.0f s"):format(self.last_death.message, pause), self.last_death.code
  end
  if pause > 0 then async.sleep(pause) end
  return true
end

local function ensure_started(self)
  if self.is_closed then return nil, "the policy was taken out", "ECANCELED" end
  if self.worker then return true end
  local ok, message, code = wait_for_start(self)
  if ok then ok, message, code = start_worker(self) end
  if ok then ok, message, code = load_policy(self) end
  return ok, message, code
end

local function key_of(object)
  return (object.metadata.namespace or "default") .. "/" .. object.metadata.name
end

local function set_known(self, key, is_known)
  if (self.known[key] ~= nil) == is_known then return end
  self.known[key] = is_known or nil
  self.known_count = self.known_count + (is_known and 1 or -1)
end

-- A Service without its longer annotations, but for those that say what it has.
local function cut(object)
  local metadata, annotations = {}, {}
  for name, value in pairs(object.metadata) do metadata[name] = value end
  for name, value in pairs(object.metadata.annotations or {}) do
    if type(value) ~= "string" or #value <= LONG_ANNOTATION or IS_OURS[name] then annotations[name] = value end
  end
  metadata.annotations = annotations
  return { metadata = metadata, spec = object.spec, status = object.status }
end

local function fitting(part, most)
  return part and #part <= most and part or nil
end

-- The worker keeps a Service as bytes. One that does not fit into a message it does not know (any more).
local function pack_service(self, object, most)
  local part = fitting(core.pack_call("set_service", object), most)
    or fitting(core.pack_call("set_service", cut(object)), most)
  local key = key_of(object)
  local was_known = self.known[key]
  set_known(self, key, part ~= nil)
  self.left_out[key] = not part or nil
  return part or was_known and core.pack({ "remove_service", key }) or nil
end

-- An operation as bytes; nil when there is nothing to say to the worker.
local function pack_operation(self, entry, most)
  local name, subject = entry[1], entry[2]
  if name == "set_service" then return pack_service(self, subject, most) end
  if name == "remove_service" then self.left_out[subject] = nil end
  if OF_A_SERVICE[name] and not self.known[subject] then return nil end
  if name == "remove_service" then set_known(self, subject, false) end
  return fitting(core.pack(entry), most)
end

-- Packs what `next_entry()` gives (nil at the end) into messages: a function that gives the parts of the next one, of
-- which the first is still to be filled in; nil when there is none.
local function messages(self, next_entry)
  local most = self.worker:most() - OVERHEAD
  local entry, part
  local function advance()
    repeat
      entry = next_entry()
      part = entry and pack_operation(self, entry, most)
    until part or not entry
  end
  advance()
  return function()
    if not entry then return nil end
    local parts, size = { false }, 0
    while entry and size + #part <= most do
      parts[#parts + 1], size = part, size + #part
      advance()
    end
    return parts
  end
end

-- Send operations in as few messages as they fit in; the next is packed while the worker reads the one before.
local function send_operations(self, next_entry)
  local next_message = messages(self, next_entry)
  local parts = next_message()
  while parts do
    parts[1] = clock(self)
    local ok, message, cause = post(self, "V", parts, FEED_TIMEOUT)
    if not ok then return nil, message, cause end
    parts = next_message()
    local kind, value, code = await_answer(self)
    if not kind then return nil, value, code end
    if kind == "X" then return own_failure(self, value) end
    if kind ~= "V" then return reject(self, "the worker did not take what it was fed") end
  end
  return true
end

-- Everything that a state holds, as operations. Keys are collected first: the state goes on changing while this is
-- sent.
local function snapshot(state)
  local keys, names, items = {}, {}, {}
  for key in pairs(state.services) do keys[#keys + 1] = key end
  for name in pairs(state.nodes) do names[#names + 1] = name end
  for item in pairs(state.ownership.resting) do items[#items + 1] = item end
  return coroutine.wrap(function()
    coroutine.yield({ "set_configmap", state.configmap })
    for _, key in ipairs(keys) do
      local record = state.services[key]
      if record then coroutine.yield({ "set_service", record.object }) end
      if record and state.reservations[key] then coroutine.yield({ "reserve", key, state.reservations[key] }) end
    end
    for _, entry in ipairs(state.ownership.exclusions) do
      if not entry.reason:find("^address of node ") then coroutine.yield({ "exclude", entry.text, entry.reason }) end
    end
    for _, name in ipairs(names) do
      if state.nodes[name] then coroutine.yield({ "set_node", state.nodes[name].object }) end
    end
    for _, item in ipairs(items) do coroutine.yield({ "rest", item }) end
    return nil
  end)
end

local function send_queue(self)
  local ok, message, code = true, nil, nil
  while ok and self.queue[1] do
    local queue, at = self.queue, 0
    self.queue = {}
    ok, message, code = send_operations(self, function()
      at = at + 1
      return queue[at]
    end)
  end
  return ok, message, code
end

-- Bring the replica up to date: all of the state the first time, what was fed since then after it.
local function bring_up_to_date(self, state)
  if not self.is_fed then
    self.queue, self.is_fed = {}, true
    local ok, message, code = send_operations(self, snapshot(state))
    if not ok then return nil, message, code end
  end
  return send_queue(self)
end

local function decision_timeout(self, count)
  return TIMEOUT + count * 2 * (self.limits.hard_ms or HARD_MS) / 1000
end

-- Not the policy's doing, so it is not counted as a failure of it.
local function too_large(self)
  return { kind = "error", file = self.file, code = "EMSGSIZE", trace = {},
    reason = "the Service's object is too large to be shown to a policy" }
end

local function ask(self, requests, state)
  local ok, message, code = ensure_started(self)
  if ok then ok, message, code = bring_up_to_date(self, state) end
  if not ok then return nil, message, code end
  local parts, left_out = { clock(self) }, {}
  for i, request in ipairs(requests) do
    local part = core.pack(request)
    if not part then return nil, "the request is too long for a message", "EMSGSIZE" end
    parts[i + 1], left_out[i] = part, self.left_out[request.key]
  end
  local kind, value, why = exchange(self, "D", parts, decision_timeout(self, #requests))
  if not kind then return nil, value, why end
  if kind == "X" then return own_failure(self, value) end
  local outcomes, is_spoiled = nil, nil
  if kind == "D" then outcomes, is_spoiled = answers.decided(value, requests, self.policy) end
  if not outcomes then return reject(self, "the worker's answer is no list of decisions") end
  for i in ipairs(outcomes) do
    if left_out[i] then outcomes[i] = too_large(self) end
  end
  if is_spoiled then
    forget_worker(self)
  else
    self.deaths = 0
  end
  return outcomes
end

local function place(self, group, state)
  local ok, message, code = ensure_started(self)
  if ok then ok, message, code = bring_up_to_date(self, state) end
  if not ok then return nil, message, code end
  local part = core.pack(group)
  if not part then return nil, "the group is too large for a message", "EMSGSIZE" end
  local kind, value, why = exchange(self, "P", { clock(self), part }, decision_timeout(self, 1))
  if not kind then return nil, self.file .. ": " .. value, why end
  if kind == "X" then return own_failure(self, value) end
  local names = kind == "P" and answers.placed(value)
  local failure = kind == "E" and answers.failed(value)
  if not names and not failure then return reject(self, "the worker's answer is no ranking") end
  if failure and failure.cause ~= "error" then forget_worker(self) end
  if failure then return nil, describe(self, failure), "EINVAL" end
  self.deaths = 0
  return names
end

-- In turn with everything else that wants the worker.
local function in_turn(self, call, ...)
  local ok, message, code = take_turn(self)
  if not ok then return nil, message, code end
  local results = table.pack(pcall(call, self, ...))
  pass_turn(self)
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- Start the worker and load the policy.
-- @treturn table|nil  `{rules=, lines=, tests=, has_place=, file=}`, or nil, message (with file and line), code
function Session:open()
  local ok, message, code = in_turn(self, ensure_started)
  if not ok then return nil, message, code end
  return self.policy
end

--- Tell the replica what changed: `operation` is a method of `moonlb.allocator.state`, or exclude, unexclude, rest of
-- its ownership.
-- Sent before the next question, or when there is much of it; dropped when the whole state will be sent anyway.
function Session:feed(operation, ...)
  if not self.is_fed then return end
  self.queue[#self.queue + 1] = { operation, ... }
  if #self.queue < QUEUE_MAX or self.is_sending then return end
  self.is_sending = true
  async.run(function()
    in_turn(self, function() return self.worker and send_queue(self) end)
    self.is_sending = false
  end)
end

--- Ask about some Services at once.
-- @tparam table requests  array of `{key=, request=, request_error=, http=}`
-- @tparam State state
-- @treturn table|nil  outcomes (see `worker_answers.decided`), fewer than requests when a limit ended a call: ask
-- again for the
-- rest; or nil, message, code when the worker ended: none of them is decided
function Session:ask(requests, state)
  return in_turn(self, ask, requests, state)
end

--- Ask where a group shall live; see `Worker:place`.
function Session:place(group, state)
  return in_turn(self, place, group, state)
end

local function reset(self)
  if not self.is_fed then return true end
  local kind, value, code = exchange(self, "R", { core.pack({}) }, FEED_TIMEOUT)
  if not kind then return nil, value, code end
  if kind == "X" then return own_failure(self, value) end
  if kind ~= "R" then return reject(self, "the worker did not forget its replica") end
  self.is_fed, self.queue, self.known, self.known_count, self.left_out = false, {}, {}, 0, {}
  return true
end

--- Let the replica begin anew: the next question may be about another state.
-- @treturn boolean|nil  true; or nil, message, code
function Session:reset()
  return in_turn(self, reset)
end

--- Kill the worker; whoever waits for it gets ECANCELED.
function Session:close()
  self.is_closed = true
  local resume = self.awaiting
  self.awaiting = nil
  forget_worker(self)
  if resume then resume(nil, "the policy was taken out", "ECANCELED") end
end

return session
