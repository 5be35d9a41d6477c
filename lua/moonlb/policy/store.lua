--- Mounted policies: watches the folder, and brings each new text into use or says why not.
--
-- A text is compiled in a worker of its own, its tests are run there, and the Services that it would decide are decided
-- anew as a dry run. Only then it takes the place of the version before, whole. A bad one changes nothing.
-- @module moonlb.policy.store
local async = require("moonlb.async")
local folder = require("moonlb.policy.folder")
local log = require("moonlb.core.log")
local offline = require("moonlb.policy.offline")
local replay = require("moonlb.policy.replay")
local runtime = require("moonlb.core.runtime")
local tests = require("moonlb.policy.tests")
local worker = require("moonlb.policy.worker")

local store = {}

local Store = { __name = "moonlb.policy.store" }
Store.__index = Store

local STOCK = "default"
-- Bounds of one trial: how many tests, and seconds for all of them and for the dry run.
local MAX_TESTS, TEST_SECONDS, REPLAY_SECONDS = 200, 10, 30
-- Services named in an Event.
local NAMED = 5

--- @tparam table options  `dir`; `host`: the live one; `settings`: those of `moonlb.allocator.service`, a plain table;
-- `now`, `utc`: clocks; `outside`: see `moonlb.policy.outside`, or nil; `emit(type, reason, message)`: an Event;
-- `on_swap(name)`: another version decides now
-- @treturn Store  `policies`: {name = `{file=, error=|nil, is_loaded=, since=}`}
function store.new(options)
  local self = setmetatable({ host = options.host, settings = options.settings, now = options.now or runtime.boottime,
    utc = options.utc or runtime.walltime, emit = options.emit or function() end,
    on_swap = options.on_swap or function() end, texts = {}, loaded = {}, policies = {} }, Store)
  self.backend = worker.new({ settings = self.settings, now = self.now, utc = self.utc, http = options.outside })
  self.folder = folder.new(options.dir, function() self:refresh() end)
  return self
end

--- Where the live Services are: from now on a new text is tried on them.
-- @tparam Engine engine
function Store:attach(engine)
  self.engine = engine
end

local function open_trial(self, name, text, file)
  return offline.open(name, text, file, { settings = self.settings, now = self.now, utc = self.utc })
end

-- What is wrong with a text at first sight; nil when nothing is.
local function fault_of(name, text, file)
  if name == STOCK then
    return ("%s: %s is the stock policy; give the file another name and choose it by the ConfigMap's key policy")
      :format(file, STOCK)
  end
  if not name:find("^[%w_-]+$") or #name > 63 then
    return ("%s: a policy's name has at most 63 letters, digits, - and _"):format(file)
  end
  if not text:find("%S") then return file .. ": the file is empty; a policy returns a table" end
  if text:sub(1, 1) == "\27" then return file .. ": compiled Lua; the source is expected" end
  return nil
end

local function test_fault(self, trial, name, file)
  local list = trial.loaded.tests or {}
  if rawlen(list) > MAX_TESTS then
    return ("%s: %d tests, at most %d are run"):format(file, rawlen(list), MAX_TESTS)
  end
  local deadline = self.now() + TEST_SECONDS
  for _, result in ipairs(tests.run(trial.host, name, function() return self.now() > deadline end)) do
    if result.failure then return ("%s: test %q failed: %s"):format(file, result.name, result.failure) end
  end
  return nil
end

-- Nobody outside is asked in a dry run.
local NOBODY = { ask = function() return { error = "nobody is asked in a dry run" } end }

local function replay_one(self, trial, name, keys)
  trial.backend.http = NOBODY
  trial.backend:reset(name)
  local deadline = self.now() + REPLAY_SECONDS
  return replay.run(self.engine, trial.host, keys, function() return self.now() > deadline end)
end

-- What the version in use would decide; nil when there is none.
local function replay_present(self, name, keys)
  local policy = self.host:policy(name)
  local trial = self.loaded[name] and open_trial(self, name, self.loaded[name], policy.file)
  if not trial then return nil end
  local decisions = replay_one(self, trial, name, keys)
  trial:close()
  return decisions
end

local function describe_differences(differences, count)
  local parts = {}
  for i = 1, math.min(NAMED, #differences) do
    local it = differences[i]
    parts[i] = ("%s %s -> %s"):format(it.key, it.before, it.after)
  end
  if #differences > NAMED then parts[#parts + 1] = "..." end
  return ("%d of %d Services would get another address were they made now (%s); none is moved")
    :format(#differences, count, table.concat(parts, ", "))
end

-- Try a policy on the live Services. Returns what is to be said of it; or nil and what is wrong.
local function dry_run(self, trial, name)
  if not self.engine then return "" end
  local _ <close> = replay.hold_collector()
  local have, count = replay.concerned(self.engine, name)
  if count == 0 then return "" end
  local after = replay_one(self, trial, name, have)
  if not after then return ("; the dry run was given up after %d s"):format(REPLAY_SECONDS) end
  local differences, failed, failures = replay.compare(have, nil, after)
  if failed then
    local failure = failed.failure
    local where = failure.where or name
    return nil, ("it fails for Service %s/%s%s: %s%s"):format(failed.namespace, failed.name,
      failures > 1 and (" and %d others"):format(failures - 1) or "",
      failure.reason:find(where, 1, true) and "" or where .. ": ", failure.reason)
  end
  local before = #differences > 0 and replay_present(self, name, have)
  if before then differences = replay.compare(have, before, after) end
  return #differences > 0 and "; " .. describe_differences(differences, count) or ""
end

local function say_failed(self, name, message)
  local entry = self.policies[name]
  entry.error = message
  log.error("policy refused", { policy = name, error = message,
    in_use = entry.is_loaded and "the version before" or "nothing" })
  self.emit("Warning", "PolicyFailed", self:describe_failure(name))
end

--- A refused policy in words, for an Event; nil when it was not refused.
function Store:describe_failure(name)
  local entry = self.policies[name]
  if not entry or not entry.error then return nil end
  return ("policy %s: %s; %s"):format(name, entry.error,
    entry.is_loaded and "the version before stays in use" or "it is not in use")
end

-- Compile, test, try, swap. Inside a task.
local function bring_in(self, name, text, file)
  local fault = fault_of(name, text, file)
  if fault then return nil, fault end
  local trial, message = open_trial(self, name, text, file)
  if not trial then return nil, message end
  local said
  message = test_fault(self, trial, name, file)
  if not message then said, message = dry_run(self, trial, name) end
  trial:close()
  if not said then return nil, message end
  local loaded
  loaded, message = self.host:load(name, text, file, self.backend)
  if not loaded then return nil, message end
  self.loaded[name] = text
  return said
end

local function take(self, name, given)
  local entry = self.policies[name] or { is_loaded = false }
  self.policies[name], entry.file = entry, given.file
  if given.error then
    self.texts[name] = nil
    if entry.error ~= given.error then say_failed(self, name, given.error) end
    return
  end
  if self.texts[name] == given.text then return end
  self.texts[name] = given.text
  local began = self.now()
  local said, message = bring_in(self, name, given.text, given.file)
  if not said then return say_failed(self, name, message) end
  local is_new = not entry.is_loaded
  entry.error, entry.is_loaded, entry.since = nil, true, self.now()
  log.info("policy in use", { policy = name, file = given.file, seconds = ("%.3f"):format(self.now() - began),
    note = said ~= "" and said:sub(3) or nil })
  if not is_new or said ~= "" then
    self.emit("Normal", "PolicySwapped", ("policy %s: a new version is in use%s"):format(name, said))
  end
  self.on_swap(name)
end

-- A file that is gone: its policy decides no more. One of the binary with that name does, or the fallback.
local function forget(self, name)
  local entry = self.policies[name]
  self.policies[name], self.texts[name], self.loaded[name] = nil, nil, nil
  log.info("policy removed", { policy = name, file = entry.file })
  if entry.is_loaded then
    self.host:forget(name)
    self.on_swap(name)
  end
end

local function read(self)
  local files, message, code = self.folder:read()
  if not files then
    if code ~= "ENOENT" then
      log.error("policies cannot be read", { folder = self.folder.path, error = message })
    elseif next(self.policies) then
      log.warn("the folder of policies is gone; what was loaded stays", { folder = self.folder.path })
    end
    return
  end
  for name in pairs(self.policies) do
    if not files[name] then forget(self, name) end
  end
  local names = {}
  for name in pairs(files) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if self.is_stopped then return end
    take(self, name, files[name])
  end
end

--- Read the folder again, in a task of its own; what changes meanwhile is read after that.
function Store:refresh()
  self.is_stale = true
  if self.task and not self.task.is_done then return end
  self.task = async.run(function()
    while self.is_stale and not self.is_stopped do
      self.is_stale = false
      read(self)
    end
  end)
end

--- Begin to watch, and load what is there. In a task: returns when all of it was looked at.
function Store:start()
  self.folder:watch()
  self:refresh()
  self.task:join()
end

--- Say again, as Events, which policies are refused: to a leader that comes new.
function Store:tell()
  for name in pairs(self.policies) do
    local message = self:describe_failure(name)
    if message then self.emit("Warning", "PolicyFailed", message) end
  end
end

--- What people see: array of `{name=, file=, is_loaded=, error=, failures=, benched=seconds|nil}`, by name.
function Store:list()
  local result = {}
  for name, entry in pairs(self.policies) do
    result[#result + 1] = { name = name, file = entry.file, is_loaded = entry.is_loaded, error = entry.error,
      failures = self.host.failures[name] or 0, benched = self.host:benched(name) }
  end
  table.sort(result, function(a, b) return a.name < b.name end)
  return result
end

--- Stop: no more watching, and the workers end.
function Store:stop()
  self.is_stopped = true
  self.folder:close()
  if self.task then self.task:cancel() end
  self.backend:close()
end

--- The settings that a Service is read by, as a plain table that crosses to a worker.
function store.service_settings(settings, configmap)
  return { configmap = configmap, lb_class_name = settings.lb_class_name, lb_class_only = settings.lb_class_only,
    no_spec_ip = settings.no_spec_ip }
end

return store
