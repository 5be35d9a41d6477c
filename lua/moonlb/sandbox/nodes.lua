--- The sandbox's cluster around an API server that listens on our loopback: a LAN, and on its nodes this very binary.
-- Each node runs `moonlb sandbox node` (a way to the API server, a backend) and, where wanted, `moonlb run`.
-- @module moonlb.sandbox.nodes
local async = require("moonlb.async")
local forward = require("moonlb.sandbox.forward")
local lan = require("moonlb.sandbox.lan")
local uv = require("luv")

local nodes = {}

local Nodes = { __name = "moonlb.sandbox.nodes" }
Nodes.__index = Nodes

local function write(path, text)
  local file, message = io.open(path, "w")
  if not file then return nil, message, "EACCES" end
  file:write(text)
  file:close()
  return true
end

--- Make the LAN and bring its nodes up. Inside a coroutine.
-- @tparam table options  `api_port`, `kubeconfig` (text, for a server at that port of 127.0.0.1), `count` (nodes),
--   `program` (path of moonlb), `http_port` (80), `folder` (writable; sockets and the kubeconfig go there),
--   `on_output(name, text)`: what a node's programs say
-- @treturn Nodes  with `lan`, `kubeconfig` and `enter` (paths of a kubeconfig, good on the nodes and here, and of a
--   script that runs a command on a host of the LAN); or nil, message, code
function nodes.up(options)
  local self = setmetatable({ options = options, running = {}, program = options.program or uv.exepath(),
    socket = options.folder .. "/api.sock", kubeconfig = options.folder .. "/kubeconfig",
    enter = options.folder .. "/enter" }, Nodes)
  local ok, message, code = write(self.kubeconfig, options.kubeconfig)
  if not ok then return nil, message, code end
  self.way, message, code = forward.start({ path = self.socket }, { host = "127.0.0.1", port = options.api_port })
  if not self.way then return nil, message, code end
  ok = false
  self.lan, message, code = lan.up({ nodes = options.count })
  if self.lan then ok, message, code = self:write_enter() end
  if ok then ok, message, code = self:start_helpers() end
  if ok then return self end
  self:down()
  return nil, message, code
end

-- For people and shell scripts. nsenter(1) waits for the program and is not to die before it by the terminal's Ctrl-C:
-- then the shell and the program would both read what is typed. A shell cannot give signals back that it was begun
-- without; env(1) of GNU can.
function Nodes:write_enter()
  local command = table.concat(self.lan:command("$host", { "env", "--default-signal=INT,QUIT", '"$@"' }), " ")
  local ok, message, code = write(self.enter, table.concat({ "#!/bin/sh",
    "# enter HOST COMMAND...: run a command on the sandbox's LAN; HOST is switch, router, node1, ... or client",
    "host=$1", "shift", "trap '' INT QUIT", "exec " .. command, "" }, "\n"))
  if not ok then return nil, message, code end
  uv.fs_chmod(self.enter, 493)	-- 0755
  return true
end

function Nodes:start_helpers()
  for i = 1, self.options.count do
    local name = "node" .. i
    local helper, message, code = self.lan:start(name, { self.program, "sandbox", "node", "--name", name,
      "--api", self.socket, "--api-port", tostring(self.options.api_port),
      "--http-port", tostring(self.options.http_port or 80) })
    if not helper then return nil, message, code end
    local is_ready = helper:wait_for(function() return helper:output():find("^ready\n") end, 20)
    if not is_ready then return nil, ("%s did not start: %s"):format(name, helper:output()), "ECHILD" end
  end
  return true
end

--- Start `moonlb run` on a node. Inside a coroutine.
-- @tparam string name  of the node
-- @tparam[opt] table arguments  more flags
-- @tparam[opt] table env  more environment, "NAME=value"
-- @treturn Process  (moonlb.sandbox.process); or nil, message, code
function Nodes:run(name, arguments, env)
  local argv = { self.program, "run", "--kubeconfig", self.kubeconfig }
  table.move(arguments or {}, 1, #(arguments or {}), #argv + 1, argv)
  local variables = table.move(env or {}, 1, #(env or {}), 2, { "vip_nodename=" .. name })
  local on_output = self.options.on_output
  local started, message, code = self.lan:start(name, argv, { env = variables,
    on_output = on_output and function(text) on_output(name, text) end })
  if not started then return nil, message, code end
  self.running[#self.running + 1] = started
  return started
end

--- End everything: moonlb gets SIGTERM and 5 s to clean up; the LAN ends what is left. Inside a coroutine.
function Nodes:down()
  for _, started in ipairs(self.running) do lan.kill(started, "sigterm") end
  for _, started in ipairs(self.running) do started:wait(5) end
  if self.way then self.way:close() end
  if self.lan then
    self.lan:down()
    self.lan.holder:wait(5)
  end
  os.remove(self.socket)
  os.remove(self.kubeconfig)
  os.remove(self.enter)
  async.sleep(0)	-- closed handles leave the loop
end

return nodes
