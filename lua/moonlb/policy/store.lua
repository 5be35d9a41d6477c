--- Mounted policies: watches the folder, and brings each new text into use or says why not.
--
-- A text is compiled in a worker of its own, its tests are run in another, and the Services that it would decide are
-- decided anew as a dry run. Only then that worker, which knows the cluster by now, takes the place of the one of the
-- version before. A bad one changes nothing.
-- @module moonlb.policy.store
local async = require("moonlb.async")
local clean = require("moonlb.clean")
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
-- Seconds until a policy that a dry run has refused is tried again; doubled each time, at most MAX_AGAIN.
local AGAIN, MAX_AGAIN = 60, 960
-- Bytes of what is said of a policy that is refused.
local MAX_ERROR = 2000

--- @tparam table options  `dir`; `host`: the live one; `settings`: those of `moonlb.allocator.service`, a plain table;
-- `now`, `utc`: clocks; `outside`: see `moonlb.policy.outside`, or nil; `emit(type, reason, message)`: an Event;
-- `on_swap(name)`: another version decides now
-- @treturn Store  `policies`: {name = `{file=, error=|nil, is_loaded=, since=}`}
function store.new(options)
  local self = setmetatable({ host = options.host, settings = options.settings, now = options.now or runtime.boottime,
    utc = options.utc or runtime.walltime, emit = options.emit or function() end,
    on_swap = options.on_swap or function() end, texts = {}, policies = {} }, Store)
  self.backend = worker.new({ settings = self.settings, now = self.now, utc = self.utc, http = options.outside })
  self.folder = folder.new(options.dir, function() self:refresh() end)
  return self
end

--- Where the live Services are: from now on a new text is tried on them.
-- @tparam Engine engine
function Store:attach(engine)
  self.engine = engine
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

-- Run a policy's tests, in a worker that ends with them.
local function test_fault(self, name, text, file, list)
  if rawlen(list) == 0 then return nil end
  if rawlen(list) > MAX_TESTS then
    return ("%s: %d tests, at most %d are run"):format(file, rawlen(list), MAX_TESTS)
  end
  local trial, message = offline.open(name, text, file, { settings = self.settings, now = self.now, utc = self.utc })
  if not trial then return message end
  local deadline = self.now() + TEST_SECONDS
  local results = tests.run(trial.host, name, function() return self.now() > deadline end)
  trial:close()
  for _, result in ipairs(results) do
    if result.failure then return ("%s: test %q failed: %s"):format(file, result.name, result.failure) end
  end
  return nil
end

local function tried(report, count)
  return report.tried < count and ("; %d of %d Services were tried"):format(report.tried, count) or ""
end

local function describe_differences(report)
  local parts = {}
  for i, it in ipairs(report.differences) do parts[i] = ("%s %s -> %s"):format(it.key, it.before, it.after) end
  if report.differ > #parts then parts[#parts + 1] = "..." end
  return ("; %d of %d Services would get another address if made anew, each by itself (%s); none is moved")
    :format(report.differ, report.tried, table.concat(parts, ", "))
end

local function describe_failures(report, name)
  local failure = report.failures[1].failure
  local where = failure.where or name
  return ("it fails for Service %s%s: %s%s"):format(report.failures[1].key,
    report.failed > 1 and (" and %d others"):format(report.failed - 1) or "",
    failure.reason:find(where, 1, true) and "" or where .. ": ", failure.reason)
end

-- Where `place` of the new version fails and that of the present one does not; nil when it does nowhere.
local function place_fault(self, candidate, present, cases)
  if not candidate.loaded.has_place then return nil end
  local case, message = replay.place(self.engine, candidate, cases)
  if not case or (present and present.has_place and replay.place(self.engine, present, { case })) then return nil end
  return ("place fails for Service %s: %s"):format(case.key, message)
end

-- Try a policy on the live Services. Returns what is to be said of it; or nil, what is wrong, and true: another time it
-- may not be.
local function dry_run(self, candidate)
  local name = candidate.name
  local cases = self.engine and replay.cases(self.engine, name) or {}
  if #cases == 0 then return "" end
  local deadline = self.now() + REPLAY_SECONDS
  local in_charge = self.backend:has(name) and self.host:policy(name)
  local present = in_charge and { name = name, file = in_charge.file, backend = self.backend,
    has_place = in_charge.has_place }
  local report = replay.run(self.engine, candidate, present, cases, function() return self.now() > deadline end)
  if report.failed > 0 then return nil, describe_failures(report, name) .. tried(report, #cases), true end
  local fault = place_fault(self, candidate, present, cases)
  if fault then return nil, fault, true end
  return (report.differ > 0 and describe_differences(report) or "") .. tried(report, #cases)
end

-- Whatever stands in a policy, or in the name of its file.
local function brief(message)
  return clean.line(message, MAX_ERROR, "...")
end

local function say_failed(self, name, message)
  local entry = self.policies[name]
  message = brief(message)
  if entry.error == message then return end	-- said already
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

-- A policy in a worker of its own that may become the one in charge. Nil and what is wrong when it does not compile.
local function open_candidate(self, name, text, file)
  local backend = worker.new({ settings = self.settings, now = self.now, utc = self.utc })
  local loaded, message = backend:load(name, text, file)
  if loaded then return { name = name, file = file, backend = backend, loaded = loaded } end
  backend:close()
  return nil, message
end

local function put_in_charge(self, candidate)
  self.backend:adopt(candidate.backend, candidate.name)
  self.host:install(candidate.name, candidate.loaded, candidate.file, self.backend)
end

-- Compile, test, try, swap. Inside a task. Returns as `dry_run`.
local function bring_in(self, name, text, file)
  local fault = fault_of(name, text, file)
  if fault then return nil, fault end
  local candidate, message = open_candidate(self, name, text, file)
  if not candidate then return nil, message end
  local said, may_pass
  self.host:follow(candidate.backend)
  message = test_fault(self, name, text, file, candidate.loaded.tests or {})
  if not message then said, message, may_pass = dry_run(self, candidate) end
  if said and not self.is_stopped then put_in_charge(self, candidate) end
  self.host:unfollow(candidate.backend)
  candidate.backend:close()
  return said, message, may_pass
end

-- What a Service made a policy fail of may be gone later.
local function try_again(self, name, entry)
  entry.pause = math.min((entry.pause or AGAIN / 2) * 2, MAX_AGAIN)
  entry.timer = async.timer(entry.pause, function()
    if self.policies[name] ~= entry or self.is_stopped then return end
    self.texts[name] = nil
    self:refresh()
  end)
end

local function take(self, name, given)
  local entry = self.policies[name] or { is_loaded = false }
  self.policies[name], entry.file = entry, given.file
  if given.error then
    self.texts[name] = nil
    return say_failed(self, name, given.error)
  end
  if self.texts[name] == given.text then return end
  self.texts[name] = given.text
  if entry.timer then entry.timer:stop() end
  local began = self.now()
  local said, message, may_pass = bring_in(self, name, given.text, given.file)
  if self.is_stopped then return end
  if may_pass then try_again(self, name, entry) end
  if not said then return say_failed(self, name, message) end
  entry.pause = nil
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
  self.policies[name], self.texts[name] = nil, nil
  if entry.timer then entry.timer:stop() end
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
  for _, entry in pairs(self.policies) do
    if entry.timer then entry.timer:stop() end
  end
  if self.task then self.task:cancel() end
  self.backend:close()
end

--- The settings that a Service is read by, as a plain table that crosses to a worker.
function store.service_settings(settings, configmap)
  return { configmap = configmap, lb_class_name = settings.lb_class_name, lb_class_only = settings.lb_class_only,
    no_spec_ip = settings.no_spec_ip }
end

return store
