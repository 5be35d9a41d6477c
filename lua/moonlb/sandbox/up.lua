--- `moonlb sandbox up`: the whole thing on one machine, until interrupted: the embedded API, a LAN of network
-- namespaces, moonlb and a backend on its nodes. `moonlb sandbox node` is what runs on each node beside moonlb.
-- @module moonlb.sandbox.up
local async = require("moonlb.async")
local json = require("moonlb.sandbox.json")
local uv = require("luv")

local up = {}

local FAILED = 1

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

local function complain(message)
  io.stderr:write("moonlb: ", message, "\n")
end

-- Call `fn` at the first SIGINT or SIGTERM.
local function on_interrupt(fn)
  local signals, is_over = {}, false
  for _, name in ipairs({ "sigint", "sigterm" }) do
    local signal = uv.new_signal()
    signal:start(name, function()
      if is_over then return end
      is_over = true
      fn()
    end)
    signals[#signals + 1] = signal
  end
  return function() for _, signal in ipairs(signals) do signal:close() end end
end

-- The API's Node objects, as kubelets would make them.
local function create_nodes(server, hosts)
  for name, host in pairs(hosts) do
    if name:find("^node") then
      assert(server:create("v1", "nodes", nil, {
        metadata = { name = name, labels = { ["kubernetes.io/hostname"] = name } },
        status = { addresses = json.list({ { type = "InternalIP", address = host.ipv4 } }) },
      }))
    end
  end
end

-- What moonlb says on a node goes to a file of its own.
local function open_logs(folder)
  local files = {}
  local function write(name, text)
    files[name] = files[name] or assert(io.open(("%s/%s.log"):format(folder, name), "w"))
    files[name]:write(text)
    files[name]:flush()
  end
  return write, function() for _, file in pairs(files) do file:close() end end
end

local function explain(nodes, folder, server)
  say("the Kubernetes API is at %s", server.url)
  say("the LAN is 10.77.0.0/24 and fd77::/64: router .1, node1 .2, ..., client .250; moonlb runs on node1")
  say("  export KUBECONFIG=%s", nodes.kubeconfig)
  say("  kubectl get services -A")
  say("  %s client curl http://EXTERNAL-IP/", nodes.enter)
  say("moonlb's log is %s/node1.log; stop everything with Ctrl-C, or kill %d", folder, uv.os_getpid())
end

-- API, LAN and nodes; what was started is in `parts` also when a later part failed.
local function start(arguments, folder, parts)
  local server, nodes, moonlb, message
  server, message = require("moonlb.sandbox.api").start({ port = arguments.port })
  if not server then return nil, ("cannot serve on 127.0.0.1:%d: %s"):format(arguments.port, message) end
  parts.server = server
  local write, close = open_logs(folder)
  parts.close_logs = close
  nodes, message = require("moonlb.sandbox.nodes").up({ api_port = server.port, kubeconfig = server:kubeconfig(),
    count = arguments.nodes, folder = folder, program = uv.exepath(), on_output = write })
  if not nodes then return nil, message end
  parts.nodes = nodes
  create_nodes(server, nodes.lan.hosts)
  moonlb, message = nodes:run("node1")
  if not moonlb then return nil, message end
  explain(nodes, folder, server)
  return true
end

local function stop(parts)
  if parts.nodes then parts.nodes:down() end
  if parts.server then parts.server:stop() end
  if parts.close_logs then parts.close_logs() end
end

--- Run until interrupted.
-- @tparam table arguments  `port` (0: any), `nodes` (how many), `folder` (nil: one is made)
-- @treturn integer  exit code
function up.run(arguments)
  local folder, code = arguments.folder or assert(uv.fs_mkdtemp("/tmp/moonlb-sandbox-XXXXXX")), 0
  local parts = {}
  uv.fs_mkdir(folder, 448)	-- 0700; where it cannot be made, writing says so
  local is_done = false
  local close_signals = on_interrupt(function()
    async.run(function()
      stop(parts)
      is_done = true
    end)
  end)
  async.run(function()
    local ok, message = start(arguments, folder, parts)
    if ok then return end
    complain(message)
    stop(parts)
    is_done, code = true, FAILED
  end)
  while not is_done do uv.run("once") end
  close_signals()
  return code
end

--- Be what a node needs beside moonlb, until it is killed.
-- @tparam table arguments  `name`, `api`, `api_port`, `http_port`
-- @treturn integer  exit code
function up.node(arguments)
  local node, message = require("moonlb.sandbox.node").start(arguments)
  if not node then
    complain(message)
    return FAILED
  end
  say("ready")
  local is_done = false
  local close_signals = on_interrupt(function() is_done = true end)
  while not is_done do uv.run("once") end
  close_signals()
  node.close()
  return 0
end

return up
