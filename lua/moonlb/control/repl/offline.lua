--- Manifests in the daemon's place: a session without a daemon and without a cluster. The same questions, answered from
-- files.
-- @module moonlb.control.repl.offline
local explain = require("moonlb.control.explain")
local facts = require("moonlb.control.explain.facts")
local json = require("moonlb.json")
local planning = require("moonlb.control.repl.planning")
local planner = require("moonlb.allocator.plan")
local remote = require("moonlb.control.repl.remote")
local views = require("moonlb.control.views")

local offline = {}

local Offline = { __name = "moonlb.control.repl.offline" }
Offline.__index = Offline

-- The faces of a daemon's parts that views look at.
local function daemon_of(objects, settings, result)
  local services, configmap = {}, nil
  for _, object in ipairs(objects) do
    if object.kind == "Service" then
      services[(object.metadata.namespace or "default") .. "/" .. object.metadata.name] = object
    elseif object.kind == "ConfigMap" and (object.metadata.namespace or "default") .. "/" .. object.metadata.name
        == settings.configmap then
      configmap = object
    end
  end
  return { is_offline = true,
    settings = { policy_fallback = "default" },
    services = { get = function(_, key) return services[key] end, each = function() return pairs(services) end,
      on = function() end },
    events = { about = function() end },
    allocator = { engine = result.engine, configmap = configmap, leading = function() return false end,
      election = { holder = function() end } },
  }
end

-- Services as the plan decides them; each whole with its object.
local function decided(result, services)
  local rows, keys = {}, {}
  for _, it in ipairs(result.decisions) do
    local key = it.namespace .. "/" .. it.name
    keys[#keys + 1] = key
    rows[key] = planning.summary(it)
  end
  table.sort(keys)
  local function row(_, key) return rows[key] end
  local function whole(_, key)
    local object = services:get(key)
    if not rows[key] then return nil end
    local it = { metadata = object.metadata, spec = object.spec, status = object.status }
    for name, value in pairs(rows[key]) do it[name] = value end
    return it
  end
  return { keys = function() return keys end, row = row, whole = whole }
end

local function nodes_of(engine)
  local rows, keys = {}, {}
  for i, node in ipairs(engine.state:list_nodes()) do
    keys[i] = node.name
    rows[node.name] = { name = node.name, state = "known", services = node.services, interfaces = json.array(),
      says = node.is_draining and "cordoned" or "from a file" }
  end
  return { keys = function() return keys end, row = function(_, key) return rows[key] end }
end

local function settings_of(self)
  local settings = {}
  for name, value in pairs(self.settings) do settings[name] = value end
  return settings
end

-- `fn(options of the engine)` with the policy of a session; its result, or nil and what is wrong.
local function by_policy(self, session, fn)
  local ok, result, message = remote.wait(function()
    return pcall(planning.with_policy, session, settings_of(self), fn)
  end)
  if not ok then return nil, result end
  return result, message
end

local OPERATIONS = {}

local LIVE = { vips = true, leases = true, mappings = true } -- no file has any

local function no_daemon(what)
  return nil, ("%s asks a running daemon: this session is on files"):format(what), "ENOTSUP"
end

for _, method in ipairs({ "list", "get", "names" }) do
  OPERATIONS[method] = function(self, request)
    if LIVE[request.what] then return no_daemon(request.what) end
    return self.views[method](self.views, request)
  end
end

function OPERATIONS.basis(self)
  local nodes = {}
  for _, object in ipairs(self.objects) do
    if object.kind == "Node" then nodes[#nodes + 1] = object end
  end
  return { configmap = self.daemon.allocator.configmap, nodes = nodes, settings = settings_of(self) }
end

-- In a task, by the session's policy.
function OPERATIONS.explain(self, request)
  return by_policy(self, self.session, function(options)
    return explain.report(facts.of_manifests(request.service, self.objects, options.settings, options.host))
  end)
end

--- As `Remote:ask`.
function Offline:ask(request)
  local operation = OPERATIONS[request.op]
  if operation then return operation(self, request) end
  return no_daemon(request.op)
end

function Offline.close() end

local function take(self, result)
  self.daemon = daemon_of(self.objects, self.settings, result)
  self.views = views.new(self.daemon, function() end, { services = decided(result, self.daemon.services),
    nodes = nodes_of(result.engine) })
  return self
end

-- How many Services their policy failed for, and the first of those.
local function failures_of(result)
  local count, first = 0, nil
  for _, decision in ipairs(result.decisions) do
    if decision.failure then
      count = count + 1
      first = first or planning.summary(decision)
    end
  end
  return count, first
end

--- Decide anew by the session's policy (`:load`), or by the ConfigMap's when there is none.
-- @treturn integer|nil  of how many Services a policy failed; or nil and what is wrong
-- @treturn table|nil  the first of those, as a row
function Offline:use(session)
  local result, message = by_policy(self, session, function(options) return planner.run(self.objects, options) end)
  if not result then return nil, message end
  self.session = session
  take(self, result)
  return failures_of(result)
end

--- @tparam table objects  manifests, of `moonlb.cli.manifests`
-- @tparam table settings  of the engine: `configmap`, ...
-- @treturn Offline
function offline.open(objects, settings)
  local self = setmetatable({ objects = objects, settings = settings, session = {} }, Offline)
  return take(self, planner.run(objects, { settings = settings }))
end

return offline
