--- Programs run by specs: their output, their errors, their exit code.
-- @module spec.support.program
local async = require("moonlb.async")
local uv = require("luv")

local program = {}

--- Where the binary under test is; $MOONLB, or build/moonlb.
-- @treturn string
function program.moonlb()
  return os.getenv("MOONLB") or "build/moonlb"
end

local function reader(pipe, on_end)
  local chunks = {}
  pipe:read_start(function(_, chunk)
    if chunk then
      chunks[#chunks + 1] = chunk
    else
      pipe:close()
      on_end(table.concat(chunks))
    end
  end)
end

--- Run a program to its end. Inside a task.
-- @tparam string path
-- @tparam table arguments
-- @tparam[opt] table options  `input` for its standard input, `env` (name -> text, added to ours), `timeout` (30 s)
-- @treturn table  `{code, stdout, stderr}`; `code` is 128 + signal when a signal ended it
function program.run(path, arguments, options)
  options = options or {}
  local environment = {}
  local merged = uv.os_environ()
  for name, value in pairs(options.env or {}) do merged[name] = value end
  for name, value in pairs(merged) do environment[#environment + 1] = name .. "=" .. value end
  local stdin, stdout, stderr = uv.new_pipe(false), uv.new_pipe(false), uv.new_pipe(false)
  local result, missing = {}, 3
  return async.await(function(resume)
    local handle, timer
    local function part(name, value)
      result[name] = value
      missing = missing - 1
      if missing == 0 then
        timer:stop()
        resume(result)
      end
    end
    local err
    handle, err = uv.spawn(path, { args = arguments, env = environment, stdio = { stdin, stdout, stderr } },
      function(code, signal)
        handle:close()
        part("code", signal > 0 and 128 + signal or code)
      end)
    assert(handle, ("%s: %s"):format(path, tostring(err)))
    timer = async.timer(options.timeout or 30, function() handle:kill("sigkill") end)
    reader(stdout, function(text) part("stdout", text) end)
    reader(stderr, function(text) part("stderr", text) end)
    if options.input then stdin:write(options.input) end
    stdin:shutdown(function() stdin:close() end)
  end)
end

return program
