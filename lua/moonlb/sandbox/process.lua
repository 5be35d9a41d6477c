--- Programs started through luv: their output, their end, signals. For the sandbox and the specs.
-- @module moonlb.sandbox.process
local async = require("moonlb.async")
local uv = require("luv")

local process = {}

local Process = { __name = "moonlb.sandbox.process" }
Process.__index = Process

-- Everything that a pipe says, in pieces, to `on_data`.
local function follow(pipe, on_data)
  pipe:read_start(function(err, data)
    if data then return on_data(data) end
    if not pipe:is_closing() then pipe:close() end
    if err then on_data("(reading failed: " .. tostring(err) .. ")\n") end
  end)
end

-- Our environment with these variables instead of ours of the same name: of two, a shell would take the last.
local function environment(changes)
  local values, list = uv.os_environ(), {}
  for _, change in ipairs(changes) do
    local name, value = change:match("^(.-)=(.*)$")
    values[name] = value
  end
  for name, value in pairs(values) do list[#list + 1] = name .. "=" .. value end
  return list
end

--- Start a program; it is looked up in PATH.
-- @tparam table argv  program and arguments
-- @tparam[opt] table options  `env` (array of "NAME=value", in place of ours), `detached` (a session of its own),
--   `on_exit(process)`, `on_output(text)`: standard output and error, as they come; else `output()` keeps them
-- @treturn Process  with `pid`; or nil, message, code
function process.start(argv, options)
  options = options or {}
  local self = setmetatable({ argv = argv, pieces = {}, waiting = {} }, Process)
  local input, output, errors = uv.new_pipe(false), uv.new_pipe(false), uv.new_pipe(false)
  local env = options.env and environment(options.env)
  local handle, pid, code = uv.spawn(argv[1], { args = table.move(argv, 2, #argv, 1, {}), env = env,
    stdio = { input, output, errors }, detached = options.detached },
    function(exit_code, signal) self:ended(exit_code, signal, options.on_exit) end)
  if not handle then
    for _, pipe in ipairs({ input, output, errors }) do pipe:close() end
    return nil, ("cannot start %s: %s"):format(argv[1], pid), code
  end
  self.handle, self.pid, self.input = handle, pid, input
  local function on_data(text) self:take(text, options.on_output) end
  follow(output, on_data)
  follow(errors, on_data)
  return self
end

function Process:take(text, on_output)
  if on_output then on_output(text) else self.pieces[#self.pieces + 1] = text end
  for i = #self.waiting, 1, -1 do
    if self.waiting[i]() then table.remove(self.waiting, i) end
  end
end

-- The pipes may still hold output when the end is reported: one more turn of the loop for them.
function Process:ended(code, signal, on_exit)
  self.handle:close()
  if not self.input:is_closing() then self.input:close() end
  async.timer(0.01, function()
    self.code, self.term_signal = code, signal
    if on_exit then on_exit(self) end
    for _, check in ipairs(self.waiting) do check() end
    self.waiting = {}
  end)
end

--- What the program has said so far, both streams.
function Process:output()
  return table.concat(self.pieces)
end

--- Has it not ended yet?
function Process:is_running()
  return self.code == nil
end

--- Send text to its standard input; nil closes it.
function Process:write(text)
  if self.input:is_closing() then return end
  if text then self.input:write(text) else self.input:close() end
end

--- Send a signal (a name such as "sigterm") to the program itself.
function Process:kill(signal)
  if self:is_running() then uv.kill(self.pid, signal) end
end

--- Wait until `check()` is truthy or the program has ended. Inside a coroutine.
-- @treturn boolean  whether the check held; or nil, "timeout", "ETIMEDOUT"
function Process:wait_for(check, seconds)
  if check() or not self:is_running() then return check() and true or false end
  return async.await(function(resume)
    local timer
    local function look()
      if not check() and self:is_running() then return false end
      timer:stop()
      resume(check() and true or false)
      return true
    end
    timer = async.timer(seconds, function() resume(nil, "timeout", "ETIMEDOUT") end)
    self.waiting[#self.waiting + 1] = look
  end)
end

--- Wait until it has ended. Inside a coroutine.
-- @treturn number  its exit code; or nil, "timeout", "ETIMEDOUT"
function Process:wait(seconds)
  local _, message, code = self:wait_for(function() return not self:is_running() end, seconds)
  if message then return nil, message, code end
  return self.code
end

--- Run a program to its end. Inside a coroutine.
-- @tparam[opt] table options  as for start, and `timeout` (seconds, default 30; then it is killed), `input` (text)
-- @treturn table  `{code=, signal=, output=}`; or nil, message, code
function process.run(argv, options)
  options = options or {}
  local it, message, code = process.start(argv, options)
  if not it then return nil, message, code end
  if options.input then it:write(options.input) end
  it:write(nil)
  local ended
  ended, message, code = it:wait(options.timeout or 30)
  if not ended then
    it:kill("sigkill")
    return nil, ("%s: %s after %g s"):format(table.concat(argv, " "), message, options.timeout or 30), code
  end
  return { code = it.code, signal = it.term_signal, output = it:output() }
end

return process
