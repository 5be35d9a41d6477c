--- `plan` in a session: what the allocator would decide, worked out in the session's own process from what the daemon
-- knows. The daemon only hands out its objects in pages.
-- @module moonlb.control.repl.planning
local engine = require("moonlb.allocator.engine")
local json = require("moonlb.json")
local offline = require("moonlb.policy.offline")
local planner = require("moonlb.allocator.plan")
local remote = require("moonlb.control.repl.remote")
local tests = require("moonlb.policy.tests")

local planning = {}

local NOW = "~~" -- the youngest, also of those that are not made yet (`service.read`): it is decided last

local function must(result, message)
  if result == nil then error(message or "there is no answer", 0) end
  return result
end

-- All that a plan looks at: ConfigMap, Services, nodes; the settings; the names of policies that the daemon has.
local function gather(session)
  local basis = must(session.source:ask({ op = "basis" }))
  local objects, mounted = {}, {}
  for _, name in ipairs(basis.mounted or {}) do mounted[name] = true end
  if type(basis.configmap) == "table" then
    local namespace, name = basis.settings.configmap:match("^([^/]+)/(.+)$")
    objects[1] = { kind = "ConfigMap", metadata = { namespace = namespace, name = name }, data = basis.configmap.data }
  end
  for _, node in ipairs(basis.nodes) do objects[#objects + 1] = node end
  local page
  repeat
    page = must(session.source:ask({ op = "list", what = "objects", after = page and page.after }))
    for _, it in ipairs(page.items) do
      objects[#objects + 1] = { kind = "Service", metadata = it.metadata, spec = it.spec, status = it.status }
    end
  until not page.after
  return objects, basis.settings, mounted
end

local function new_service(wanted)
  local spec = { type = "LoadBalancer", ports = { { port = 80, protocol = "TCP" } } }
  for name, value in pairs(type(wanted.spec) == "table" and wanted.spec or {}) do spec[name] = value end
  spec.loadBalancerIP = wanted.ip or spec.loadBalancerIP
  local namespace, name = tostring(wanted.namespace or "default"), tostring(wanted.name or "new")
  return { kind = "Service", metadata = { namespace = namespace, name = name, uid = "plan", creationTimestamp = NOW,
    annotations = wanted.annotations or {}, labels = wanted.labels or {} }, spec = spec }, namespace .. "/" .. name
end

--- `fn(options of the engine)` with the policy that `:load` chose, in its worker. In a task.
function planning.with_policy(session, settings, fn)
  local chosen = session.policy
  if not chosen then return fn({ settings = settings }) end
  settings.policy = chosen.name
  local trial, message = offline.open(chosen.name, chosen.text, chosen.file, { settings = settings,
    fallback = "default" })
  if not trial then return nil, message end
  local result = fn({ settings = settings, host = trial.host })
  trial:close()
  return result
end

-- What became of a policy that did not decide though it was its turn; nil when it did.
local function warning_of(failure, mounted)
  if not failure then return nil end
  if mounted[failure.policy] then
    return ("policy %s is mounted in the daemon and not asked in a session: the stock policy decided here; :load its "
      .. "file to ask it"):format(failure.policy)
  end
  local rule = failure.rule and (" in rule %s"):format(failure.rule) or ""
  local where = failure.where and not failure.reason:find(failure.where, 1, true) and failure.where .. ": " or ""
  return ("policy %s failed%s, the stock policy decided: %s%s"):format(failure.policy, rule, where, failure.reason)
end

--- A decision as a session shows it.
-- @tparam table decision  of the engine
-- @tparam[opt] table mounted  set of names of policies that only the daemon has
-- @treturn table  with `warning` and `failure` (`{policy=, rule=, where=, reason=, trace=}`) when a policy failed
function planning.summary(decision, mounted)
  local failure = decision.failure
  return { name = decision.namespace .. "/" .. decision.name, action = decision.action, rule = decision.rule,
    policy = decision.policy ~= "" and decision.policy or nil, addresses = json.array(decision.addresses),
    pool = decision.pool, message = decision.message or decision.reason, warning = warning_of(failure, mounted or {}),
    trace = json.array(decision.trace), interface = decision.interface,
    failure = failure and { policy = failure.policy, rule = failure.rule, where = failure.where,
      reason = failure.reason, trace = json.array(failure.trace) } }
end

local function decide_new(objects, wanted, mounted)
  return function(options)
    local brain = engine.new(options)
    local service, key = new_service(wanted)
    objects[#objects + 1] = service
    planner.feed(brain, objects, options.settings.configmap)
    planner.decide(brain, key)	-- those that wait get theirs first
    return planning.summary(brain:decide(key), mounted)
  end
end

local function decide_all(objects, mounted)
  return function(options)
    local rows = {}
    for i, decision in ipairs(planner.run(objects, options).decisions) do
      rows[i] = planning.summary(decision, mounted)
      rows[i].trace = nil
    end
    return rows
  end
end

--- @tparam table session  `source`, `policy` (`{name=, text=, file=}` or nil)
-- @tparam[opt] table wanted  `namespace`, `name`, `ip`, `spec`, `annotations`, `labels`; nil: all that there are
-- @treturn table  a decision, or an array of them; raises what is wrong
function planning.plan(session, wanted)
  if wanted ~= nil and type(wanted) ~= "table" then error('plan: a table expected, plan{namespace="shop"}', 0) end
  local objects, settings, mounted = gather(session)
  local decide = wanted and decide_new(objects, wanted, mounted) or decide_all(objects, mounted)
  local ok, result, message = remote.wait(function()
    return pcall(planning.with_policy, session, settings, decide)
  end)
  if not ok then error(result, 0) end
  return must(result, message)
end

-- A policy's tests have always the same time.
local function epoch() return 0 end

--- Read a policy's file, load it and run its tests.
-- @tparam string path
-- @treturn table|nil  `{name=, text=, file=, tests=}`, `tests` as of `moonlb.policy.tests`; or nil and what is wrong,
-- with file and line
function planning.load(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read(1 << 20)
  file:close()
  if not text then return nil, path .. ": there is nothing in it" end
  local name, trial = offline.name_of(path), nil
  local results
  results, message = remote.wait(function()
    local problem
    trial, problem = offline.open(name, text, path, { utc = epoch })
    if not trial then return nil, problem end
    return tests.run(trial.host, name)
  end)
  if trial then trial:close() end
  if not results then return nil, message end
  return { name = name, text = text, file = path, tests = results }
end

return planning
