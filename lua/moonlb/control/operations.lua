--- What the daemon answers on its control socket: one function a name, gathered from the modules beside this one.
-- @module moonlb.control.operations
local asking = require("moonlb.control.asking")
local async = require("moonlb.async")
local changing = require("moonlb.control.changing")
local inquiry = require("moonlb.control.inquiry")
local json = require("moonlb.json")
local log = require("moonlb.core.log")
local runtime = require("moonlb.core.runtime")
local views = require("moonlb.control.views")

local operations = {}

-- The loop gets a turn after so many seconds of work; neighbours in one answer.
local TURN, NEIGHBOURS = 0.002, 500

local LEVELS = { debug = true, info = true, warn = true, error = true }

-- Gives the loop a turn when this one was long enough. Inside tasks.
local function new_pause()
  local began = runtime.boottime()
  return function()
    if runtime.boottime() - began < TURN then return end
    async.sleep(0)
    began = runtime.boottime()
  end
end

-- Questions that look at much are answered one after the other, each beginning in a turn of its own: fifty sessions at
-- once hold the loop no longer than one does. Inside tasks; who goes away while it waits is passed over.
local function new_line()
  local is_taken, waiting = false, {}
  local leave
  function leave()
    repeat
      local first = table.remove(waiting, 1)
      if first and not first.is_gone then
        return async.timer(0, function() if first.is_gone then leave() else first.resume() end end)
      end
    until not first
    is_taken = false
  end
  return function(fn, ...)
    if is_taken then
      local entry = {}
      local is_first = async.await(function(resume)
        entry.resume = function() resume(true) end
        waiting[#waiting + 1] = entry
        return function() entry.is_gone = true end
      end)
      if not is_first then return end
    end
    is_taken = true
    local ok, err = xpcall(fn, debug.traceback, ...)
    leave()
    if not ok then error(err, 0) end
  end
end

-- An answer of many rows is written row by row, so that the loop gets its turns between them.
local function in_slices(answer, pause)
  for _, rows in pairs(type(answer) == "table" and answer or {}) do
    if type(rows) == "table" and type(rows[1]) == "table" then
      for i, row in ipairs(rows) do
        rows[i] = json.written(row)
        pause()
      end
    end
  end
  return answer
end

local function queue_of(part)
  local stats = part and part.queue and part.queue:stats()
  return stats and { waiting = stats.depth, active = stats.active, done = stats.done, failed = stats.failed } or nil
end

-- Until the session ends: a person who looked at something does not leave a talkative daemon behind.
local function set_level(daemon, request, connection)
  local level = request.level
  if not LEVELS[level] then
    return nil, ("log level %s: debug, info, warn or error expected"):format(tostring(level):sub(1, 32)), "EINVAL"
  end
  local is_json = daemon.settings.log_format == "json"
  log.configure({ level = level, json = is_json })
  connection.on_close = function() log.configure({ level = daemon.settings.log_level, json = is_json }) end
  return { level = level, before = daemon.settings.log_level }
end

-- The ConfigMap, the nodes and the names of the policies that run here, as `plan` in a session needs them; the Services
-- come in pages (collection `objects`).
local function basis(daemon)
  local allocator, nodes = daemon.allocator, {}
  if not allocator then return nil, "this process does not allocate: it does not follow the ConfigMap", "ENOTSUP" end
  for _, node in ipairs(allocator.engine.state:list_nodes()) do
    nodes[#nodes + 1] = { kind = "Node", metadata = { name = node.name, labels = node.labels },
      spec = { unschedulable = node.is_draining } }
  end
  local mounted = json.array()
  for i, it in ipairs(daemon.policies and daemon.policies:list() or {}) do mounted[i] = it.name end
  return { configmap = allocator.configmap and { data = allocator.configmap.data }, nodes = nodes, mounted = mounted,
    settings = { configmap = daemon.settings.configmap_namespace .. "/" .. daemon.settings.configmap,
      lb_class_name = daemon.settings.lb_class_name, lb_class_only = daemon.settings.lb_class_only,
      no_spec_ip = daemon.settings.no_spec_ip } }
end

--- @tparam Daemon daemon  its parts may appear later
-- @treturn table  name -> `function(request, reply, connection)`, see `moonlb.control.server`
function operations.new(daemon)
  local all, pause = {}, new_pause()
  local look = views.new(daemon, pause)

  function all.version(_, reply)
    reply({ version = runtime.version, node = daemon.settings.node_name })
  end

  for _, method in ipairs({ "list", "get", "names" }) do
    all[method] = function(request, reply) reply(look[method](look, request)) end
  end

  function all.queue(_, reply)
    reply({ allocator = queue_of(daemon.allocator), announcer = queue_of(daemon.announcer) })
  end

  function all.basis(_, reply) reply(basis(daemon)) end
  function all.log(request, reply, connection) reply(set_level(daemon, request, connection)) end
  function all.who_has(request, reply) reply(asking.who_has(daemon.announcer, request.address)) end
  function all.neighbours(_, reply) reply(asking.neighbours(daemon.announcer, NEIGHBOURS)) end

  inquiry.add(all, daemon)
  for _, name in ipairs({ "list", "record", "frames" }) do
    local operation = all[name]
    all[name] = function(request, reply)
      operation(request, function(answer, ...) reply(in_slices(answer, pause), ...) end)
    end
  end
  local in_line = new_line()
  for _, name in ipairs({ "list", "get", "names", "explain", "record", "frames" }) do
    local operation = all[name]
    all[name] = function(...) in_line(operation, ...) end
  end
  changing.add(all, daemon)
  return all
end

return operations
