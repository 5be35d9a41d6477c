--- Judges for HTTP specs: the curl program, and raw TCP by luv.
-- @module spec.support.http
local uv = require("luv")

local loop = require("spec.support.loop")

local http = {}

local Process = {}
Process.__index = Process

--- Start a program; its output gathers in `out` and `err`, its exit code in `code`.
-- @tparam string program
-- @tparam table args
-- @tparam[opt] table options  `env`: the whole environment (list of `NAME=value`), `stdin`: text to feed it
-- @treturn Process
function http.spawn(program, args, options)
  options = options or {}
  local process = setmetatable({ out = "", err = "", open = 3 }, Process)
  local stdout, stderr = uv.new_pipe(), uv.new_pipe()
  local stdin = options.stdin and uv.new_pipe() or nil
  local handle, pid = uv.spawn(program, {
    args = args, env = options.env, stdio = { stdin, stdout, stderr },
  }, function(code)
    process.code = code
    process.open = process.open - 1
    process.handle:close()
  end)
  assert(handle, pid)
  process.handle, process.pid = handle, pid
  if stdin then
    stdin:write(options.stdin, function() stdin:close() end)
  end
  local function gather(pipe, field)
    pipe:read_start(function(_, data)
      if data then
        process[field] = process[field] .. data
      else
        process.open = process.open - 1
        pipe:close()
      end
    end)
  end
  gather(stdout, "out")
  gather(stderr, "err")
  return process
end

--- Wait for the end of it.
-- @treturn Process  itself
function Process:wait(timeout_s)
  loop.until_true(function() return self.open == 0 end, timeout_s, "end of the process")
  return self
end

function Process:kill(signal)
  if not self.code then self.handle:kill(signal or "sigkill") end
end

--- A TCP port of 127.0.0.1 on which nobody listens just now.
function http.free_port()
  local probe = uv.new_tcp()
  assert(probe:bind("127.0.0.1", 0))
  local port = probe:getsockname().port
  probe:close()
  return port
end

--- Run curl(1) and wait. `-s -S --http1.1 -N --max-time 20` are given already.
function http.curl(...)
  return http.spawn("curl", { "-q", "-s", "-S", "--noproxy", "*", "--http1.1", "-N", "--max-time", "20", ... })
end

--- A TCP connection whose received bytes gather in `text`; `is_closed` at its end, `error` for a reset.
function http.connect(port)
  local socket = uv.new_tcp()
  local connection = { text = "" }
  function connection.write(data) socket:write(data) end
  function connection.shutdown() socket:shutdown() end
  function connection.close() if not socket:is_closing() then socket:close() end end
  function connection.pause() socket:read_stop() end
  function connection.read()
    socket:read_start(function(err, data)
      if data then
        connection.text = connection.text .. data
      else
        connection.error, connection.is_closed = err, true
        connection.close()
      end
    end)
  end
  socket:connect("127.0.0.1", port, function(err)
    connection.error = err
    connection.is_connected = not err
    if not err then connection.read() end
  end)
  loop.until_true(function() return connection.is_connected or connection.error end, 5, "connect")
  return connection
end

--- A TCP server that hands each connection's bytes to `on_data(peer, data, n)`; data is nil at its end; n counts
-- connections.
-- peer: `write(text)`, `close()`, `reset()`.
-- @return port, close function
function http.raw_server(on_data)
  local server, count, peers = uv.new_tcp(), 0, {}
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(64, function()
    local socket = uv.new_tcp()
    server:accept(socket)
    count = count + 1
    local n = count
    local peer = { socket = socket }
    peers[peer] = true
    function peer.close()
      peers[peer] = nil
      if not socket:is_closing() then socket:close() end
    end
    function peer.reset()
      peers[peer] = nil
      if not socket:is_closing() then socket:close_reset() end
    end
    function peer.write(text, done) if not socket:is_closing() then socket:write(text, done) end end
    socket:read_start(function(_, data)
      on_data(peer, data, n)
      if not data then peer.close() end
    end)
  end))
  return server:getsockname().port, function()
    server:close()
    for peer in pairs(peers) do peer.close() end
  end
end

return http
