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

local function node_count(text)
  local count = math.tointeger(tonumber(text))
  if count and count >= 1 and count <= 200 then
    return count
  end
  return nil, ("not a number of nodes: '%s' (1 to 200)"):format(text)
end

local function configure_lan(parser, add_help)
  local up = parser:command("up", "the whole thing: that API, a LAN of network namespaces, moonlb on its first node")
  add_help(up)
  up:option("--port", "port of the API on 127.0.0.1; 0 takes a free one", "0"):convert(port_number)
  up:option("--nodes", "how many nodes", "1"):convert(node_count)
  up:option("--folder", "where its kubeconfig, its logs and the script `enter` go (default: a new one below /tmp)")
  local node = parser:command("node", "what runs on each of those nodes beside moonlb; started by `up`")
  add_help(node)
  node:option("--name", "of the node")
  node:option("--api", "Unix socket that leads to the API")
  node:option("--api-port", "port on the node's loopback that leads there"):convert(port_number)
  node:option("--http-port", "port of the backend, on every address"):convert(port_number)
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
  configure_lan(parser, add_help)
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

local commands = {
  api = run_api,
  up = function(arguments) return require("moonlb.sandbox.up").run(arguments) end,
  node = function(arguments) return require("moonlb.sandbox.up").node(arguments) end,
}

--- Run it.
-- @tparam table arguments  of argparse
-- @treturn integer  exit code
function sandbox.run(arguments)
  return commands[arguments.sandbox_command](arguments)
end

return sandbox
