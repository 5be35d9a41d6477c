--- `moonlb sandbox`: try moonlb on one machine, without a cluster.
-- @module moonlb.cli.sandbox
local uv = require("luv")

local sandbox = {
  name = "sandbox",
  summary = "try moonlb without a cluster",
}

local USAGE = 2

local function port_number(text)
  local port = math.tointeger(tonumber(text))
  if port and port >= 0 and port <= 65535 then
    return port
  end
  return nil, ("not a port: '%s' (0 to 65535)"):format(text)
end

--- Declare the flags.
-- @tparam table parser  argparse command
-- @tparam function add_help  gives a command below it `--help`
function sandbox.configure(parser, add_help)
  parser:require_command(true):command_target("sandbox_command")
  local api = parser:command("api", "serve a small Kubernetes API on loopback, in memory, until interrupted")
  add_help(api)
  api:option("--port", "port on 127.0.0.1; 0 takes a free one", "0"):convert(port_number)
  api:option("--kubeconfig", "write a kubeconfig for it to this file")
end

local function write_file(path, text)
  local file, message = io.open(path, "w")
  if not file then
    return nil, message
  end
  local ok
  ok, message = file:write(text)
  file:close()
  return ok, message
end

local function complain(message)
  io.stderr:write("moonlb: ", message, "\n")
end

-- Until SIGINT or SIGTERM.
local function serve(server)
  local signals = {}
  for _, name in ipairs({ "sigint", "sigterm" }) do
    local signal = uv.new_signal()
    signal:start(name, function()
      for _, each in ipairs(signals) do
        each:close()
      end
      server:stop()
    end)
    signals[#signals + 1] = signal
  end
  while server.listener do
    uv.run("once")
  end
end

local function run_api(arguments)
  local server, message = require("moonlb.sandbox.api").start({ port = arguments.port })
  if not server then
    complain(("cannot serve on 127.0.0.1:%d: %s"):format(arguments.port, message))
    return 1
  end
  if arguments.kubeconfig then
    local ok, why = write_file(arguments.kubeconfig, server:kubeconfig())
    if not ok then
      server:stop()
      complain("cannot write the kubeconfig: " .. why)
      return USAGE
    end
  end
  print("serving the Kubernetes API on " .. server.url)
  if arguments.kubeconfig then
    print("try: kubectl --kubeconfig " .. arguments.kubeconfig .. " get services -A")
  end
  io.stdout:flush()
  serve(server)
  return 0
end

local commands = { api = run_api }

--- Run it.
-- @tparam table arguments  of argparse
-- @treturn integer  exit code
function sandbox.run(arguments)
  return commands[arguments.sandbox_command](arguments)
end

return sandbox
