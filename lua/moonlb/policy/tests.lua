--- The `tests` of a policy: run on the engine of `moonlb plan`, offline.
--
-- A test is `{name=, given={configmap=, services={...}, nodes={...}}, service=, http=, expect=}`. `configmap` is the
-- data of the ConfigMap; `http` answers for the outside: `{["GET <url>"]={status=200, body="..."}}`.
-- Services and nodes are Kubernetes objects of which anything may be left out; a Service written `{name=, namespace=,
-- addresses="10.0.0.8", ports={80}}` has that address already. `service` is the one that is decided. `expect` names
-- fields of the decision.
-- @module moonlb.policy.tests
local async = require("moonlb.async")
local planner = require("moonlb.allocator.plan")
local fields = require("moonlb.allocator.fields")

local tests = {}

local CONFIGMAP = { namespace = "kube-system", name = "kubevip" }
-- A test is an example, run in the controller's own process before a swap: its Services and nodes, and the bytes of its
-- ConfigMap, at most. As many of the former are taken in one turn of the loop.
local MAX_OBJECTS, MAX_CONFIGMAP, SLICE = 200, 16 * 1024, 20

-- A deep copy: the engine fills in what is missing, and a test may share tables with the next one.
local function copy(value, depth)
  if type(value) ~= "table" then return value end
  if depth > 16 then error("a test's objects are nested too deeply", 0) end
  local result = {}
  for key, item in pairs(value) do result[key] = copy(item, depth + 1) end
  return result
end

local function ports_of(numbers)
  local ports = {}
  for i, number in ipairs(numbers or { 80 }) do ports[i] = { port = number, protocol = "TCP" } end
  return ports
end

local function service_of(given, name, created)
  local object = copy(given or {}, 0)
  local metadata = object.metadata or {}
  object.kind, object.metadata, object.spec = "Service", metadata, object.spec or {}
  metadata.name = metadata.name or object.name or name
  metadata.namespace = metadata.namespace or object.namespace or "default"
  metadata.creationTimestamp = metadata.creationTimestamp or created
  object.spec.type = object.spec.type or "LoadBalancer"
  object.spec.ports = object.spec.ports or ports_of(object.ports)
  if object.addresses then
    metadata.labels, metadata.annotations = metadata.labels or {}, metadata.annotations or {}
    metadata.labels[fields.LABEL] = fields.LABEL_VALUE
    metadata.annotations[fields.ADDRESSES] = object.addresses
  end
  return object
end

local function node_of(given, i)
  local object = copy(given, 0)
  object.kind, object.metadata = "Node", object.metadata or {}
  object.metadata.name = object.metadata.name or object.name or "node-" .. i
  return object
end

local function configmap_of(given)
  local data, bytes = copy(given.configmap or {}, 0), 0
  for key, value in pairs(data) do bytes = bytes + #tostring(key) + #tostring(value) end
  if bytes > MAX_CONFIGMAP then
    error(("its ConfigMap has %d bytes, at most %d are taken"):format(bytes, MAX_CONFIGMAP), 0)
  end
  return { kind = "ConfigMap", metadata = CONFIGMAP, data = data }
end

local function objects_of(test)
  local given = test.given or {}
  local count = #(given.services or {}) + #(given.nodes or {})
  if count > MAX_OBJECTS then
    error(("it has %d Services and nodes, at most %d are taken"):format(count, MAX_OBJECTS), 0)
  end
  local objects = { configmap_of(given) }
  for i, service in ipairs(given.services or {}) do
    objects[#objects + 1] = service_of(service, "given-" .. i, "2026-01-01T00:00:00Z")
  end
  for i, node in ipairs(given.nodes or {}) do objects[#objects + 1] = node_of(node, i) end
  local decided = service_of(test.service, "new", "2026-01-02T00:00:00Z")
  objects[#objects + 1] = decided
  return objects, decided.metadata
end

local function show(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for i, item in ipairs(value) do parts[i] = tostring(item) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

-- What differs from what was expected; nil when nothing does.
local function difference(expected, decision)
  if type(expected) ~= "table" or next(expected) == nil then return "expect is empty" end
  local names = {}
  for name in pairs(expected) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for _, name in ipairs(names) do
    if show(expected[name]) ~= show(decision[name]) then
      return ("%s is %s, expected %s (%s)"):format(name, show(decision[name]), show(expected[name]),
        decision.failure and decision.failure.reason or decision.message)
    end
  end
  return nil
end

--- What answers `http.get` in a test.
-- @tparam table|nil answers  `{["GET <url>"]={status=, body=}}`
-- @treturn table  `http` of a back end
function tests.outside(answers)
  return { ask = function(url)
    local answer = type(answers) == "table" and answers["GET " .. url]
    if type(answer) ~= "table" then return { error = "no answer: the test has none for GET " .. url } end
    return { status = math.tointeger(answer.status) or 200, body = tostring(answer.body or "") }
  end }
end

-- Gives the loop its turn now and then, where there is one.
local function new_pause()
  local count = 0
  return function()
    count = count + 1
    if count % SLICE == 0 and async.running() then async.sleep(0) end
  end
end

local function run_one(test, host, policy)
  local backend = host:policy(policy).backend
  backend.http = tests.outside(test.http)
  if backend.reset then backend:reset(policy) end
  local objects, metadata = objects_of(test)
  local result = planner.run(objects, { host = host, settings = { policy = policy }, now = function() return 0 end,
    utc = function() return 0 end, pause = new_pause() })
  for _, decision in ipairs(result.decisions) do
    if decision.namespace == metadata.namespace and decision.name == metadata.name then
      return difference(test.expect, decision)
    end
  end
  return "no decision was made"
end

--- Run a loaded policy's tests; inside a task where its back end waits. Host and back end are used for nothing else:
-- `http` is replaced, and a replica begins anew for each test.
-- @tparam Host host  see `moonlb.policy.host`
-- @tparam string policy  its name
-- @tparam[opt] function is_over  asked before each: whether to give up; the rest fails then
-- @treturn table  array of `{name=, failure=text|nil}`
function tests.run(host, policy, is_over)
  local results = {}
  for i, test in ipairs(host:policy(policy).tests or {}) do
    local name = type(test) == "table" and tostring(test.name or "test " .. i) or "test " .. i
    local ok, failure = true, "the tests take too long"
    if not (is_over and is_over()) then ok, failure = pcall(run_one, test, host, policy) end
    results[i] = { name = name, failure = failure and tostring(failure) or nil }
    if not ok then results[i].failure = "cannot be run: " .. tostring(failure) end
  end
  return results
end

return tests
