--- The objects of a live cluster, read once: what `moonlb plan` works on when no file is given.
-- @module moonlb.cli.source
local async = require("moonlb.async")
local connection = require("moonlb.daemon.connection")
local uv = require("luv")

local source = {}

local TIMEOUT = 30 -- seconds for all of it

local function add_list(objects, client, path, kind)
  local version, message, reason = client:list(path, {}, function(items)
    for _, item in ipairs(items) do
      item.kind = kind
      objects[#objects + 1] = item
    end
  end)
  if version then return true end
  return nil, ("%s: %s"):format(path, message), reason
end

local function read(client, values)
  local objects = {}
  local ok, message, reason = add_list(objects, client, "/api/v1/services", "Service")
  if not ok then return nil, message, reason end
  -- Nodes only add exclusions: who may not list them still gets a plan.
  add_list(objects, client, "/api/v1/nodes", "Node")
  local path = ("/api/v1/namespaces/%s/configmaps/%s"):format(values.configmap_namespace, values.configmap)
  local configmap
  configmap, message, reason = client:get(path)
  if configmap then
    configmap.kind = "ConfigMap"
    objects[#objects + 1] = configmap
  elseif reason ~= "NotFound" then
    return nil, ("%s: %s"):format(path, message), reason
  end
  return objects
end

--- Talk to the API server for a moment, from a program that has no loop of its own.
-- @tparam table values  settings: `kubeconfig`, `context`
-- @tparam table environment  name -> text
-- @tparam function fn  `fn(client)`, in a task; what it returns is returned
-- @treturn any  or nil, message, code
function source.ask(values, environment, fn)
  local link, message, code = connection.new(values, environment)
  if not link then return nil, message, code end
  local result = table.pack(nil, ("%s: no answer within %d s"):format(link.server, TIMEOUT), "ETIMEDOUT")
  local task = async.run(function()
    result = table.pack(link:open())
    if result[1] then result = table.pack(fn(link.client)) end
  end)
  local timer = async.timer(TIMEOUT, function() task:cancel() end)
  while not task.is_done do uv.run("once") end
  timer:stop()
  link:close()
  return table.unpack(result, 1, result.n)
end

--- @tparam table values  settings: `kubeconfig`, `context`, `configmap`, `configmap_namespace`
-- @tparam table environment  name -> text
-- @treturn table|nil  array of objects; or nil, message, code
function source.live(values, environment)
  local objects, message, code = source.ask(values, environment, function(client) return read(client, values) end)
  if objects then return objects end
  if not connection.new(values, environment) then message = message .. "; or give manifests with -f FILE" end
  return nil, message, code
end

return source
