--- `plan` in a session: what the allocator would decide, worked out in the session's own process from what the daemon
-- knows. The daemon only hands out its objects in pages.
-- @module moonlb.control.repl.planning
local engine = require("moonlb.allocator.engine")
local offline = require("moonlb.policy.offline")
local planner = require("moonlb.allocator.plan")
local remote = require("moonlb.control.repl.remote")

local planning = {}

local NOW = "~~" -- the youngest, also of those that are not made yet (`service.read`): it is decided last

local function must(result, message)
  if result == nil then error(message or "there is no answer", 0) end
  return result
end

-- All that a plan looks at: ConfigMap, Services, nodes.
local function gather(session)
  local basis = must(session.source:ask({ op = "basis" }))
  local objects = {}
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
  return objects, basis.settings
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

local function summary(decision)
  return { name = decision.namespace .. "/" .. decision.name, action = decision.action, rule = decision.rule,
    addresses = decision.addresses, pool = decision.pool, message = decision.message or decision.reason,
    trace = decision.trace }
end

local function decide_new(objects, wanted)
  return function(options)
    local brain = engine.new(options)
    local service, key = new_service(wanted)
    objects[#objects + 1] = service
    planner.feed(brain, objects, options.settings.configmap)
    planner.decide(brain, key)	-- those that wait get theirs first
    return summary(brain:decide(key))
  end
end

local function decide_all(objects)
  return function(options)
    local rows = {}
    for i, decision in ipairs(planner.run(objects, options).decisions) do
      rows[i] = summary(decision)
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
  local objects, settings = gather(session)
  local ok, result, message = remote.wait(function()
    return pcall(planning.with_policy, session, settings, wanted and decide_new(objects, wanted) or decide_all(objects))
  end)
  if not ok then error(result, 0) end
  return must(result, message)
end

--- Choose a policy for the session after trying that it loads.
-- @tparam table session
-- @tparam string path
-- @treturn table|nil  `{name=, rules=}`; or nil and what is wrong, with file and line
function planning.load(session, path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read(1 << 20) or ""
  file:close()
  local name, trial = offline.name_of(path), nil
  local loaded
  loaded, message = remote.wait(function()
    local problem
    trial, problem = offline.open(name, text, path)
    if not trial then return nil, problem end
    trial:close()
    return trial.loaded
  end)
  if not loaded then return nil, message end
  session.policy = { name = name, text = text, file = path }
  return { name = name, rules = loaded.rules }
end

return planning
