--- The asking end of the control socket (`moonlb.control.server` says what goes over it).
-- @module moonlb.control.client
local async = require("moonlb.async")
local cjson = require("cjson")
local json = require("moonlb.json")
local uv = require("luv")

local client = {}

local Session = { __name = "moonlb.control.client" }
Session.__index = Session

local TIMEOUT = 35 -- seconds; a little more than the daemon takes for an operation

local WORDS = {
  ENOENT = "no moonlb runs here (there is no %s)",
  ECONNREFUSED = "no moonlb answers at %s; it has ended",
  EACCES = "not allowed to ask at %s: be root, or the user that runs moonlb",
}

-- Run `fn` as a task: inside one, wait for it; outside, run the loop meanwhile.
local function in_task(fn)
  if async.running() then return fn() end
  local results
  local task = async.run(function() results = table.pack(fn()) end)
  while not task.is_done do uv.run("once") end
  if not results then return nil, "the request failed", "EFAULT" end
  return table.unpack(results, 1, results.n)
end

local function wake(self, ...)
  local resume = self.resume
  self.resume = nil
  if resume then resume(...) end
end

local function on_data(self, err, data)
  if err or not data then
    self.is_ended = true
    return wake(self, nil, "the daemon closed the connection", "ECONNRESET")
  end
  self.parts[#self.parts + 1] = data
  if not data:find("\n", 1, true) then return end
  local line, rest = table.concat(self.parts):match("^([^\n]*)\n(.*)$")
  self.parts = { rest }
  wake(self, line)
end

-- The connection, or nil, message, code.
local function connect(path, decode)
  local pipe = uv.new_pipe(false)
  local code = async.await(function(resume)
    pipe:connect(path, function(err) resume(err or "connected") end)
  end)
  local self = setmetatable({ pipe = pipe, path = path, parts = {}, decode = decode or cjson.decode }, Session)
  if code == "connected" then
    pipe:read_start(function(err, data) on_data(self, err, data) end)
    return self
  end
  pipe:close()
  return nil, (WORDS[code] or "cannot connect to %s"):format(path), code
end

--- Connect to the daemon. Inside a task it waits; outside of one it runs the loop.
-- @tparam string path  of the socket
-- @tparam[opt] function decode  reads JSON in the place of cjson, which does not tell `[]` from `{}`
-- @treturn Session|nil  with `call(request[, timeout])` and `close()`; or nil, message, code
function client.connect(path, decode)
  return in_task(function() return connect(path, decode) end)
end

-- The next line, or nil, message, code.
local function wait_line(self, timeout)
  return async.await(function(resume)
    local timer = async.timer(timeout, function()
      wake(self, nil, ("no answer within %g s"):format(timeout), "ETIMEDOUT")
    end)
    self.resume = function(...)
      timer:stop()
      resume(...)
    end
    return function()
      timer:stop()
      self.resume = nil
    end
  end)
end

local function exchange(self, request, timeout)
  if self.is_ended then return nil, "the connection is closed", "ECONNRESET" end
  self.pipe:write(json.encode(request) .. "\n")
  local line, message, code = wait_line(self, timeout)
  if not line then
    self:close() -- an answer that comes late would be taken for the next one's
    return nil, message, code
  end
  local ok, answer = pcall(self.decode, line)
  if not ok or type(answer) ~= "table" then return nil, "the daemon's answer is no JSON", "EBADMSG" end
  if answer.error ~= nil then
    return nil, tostring(answer.error), type(answer.code) == "string" and answer.code or nil
  end
  return answer.result
end

--- Ask once; one call at a time.
-- @tparam table request  `op` and what it needs
-- @tparam[opt=35] number timeout  seconds
-- @return the result (`json.null` for none); or nil, message, code
function Session:call(request, timeout)
  return in_task(function() return exchange(self, request, timeout or TIMEOUT) end)
end

--- Idempotent.
function Session:close()
  self.is_ended = true
  if self.pipe then self.pipe:close() end
  self.pipe = nil
end

--- Connect, ask once, close.
-- @return the result; or nil, message, code
function client.call(path, request, timeout)
  local session, message, code = client.connect(path)
  if not session then return nil, message, code end
  local result
  result, message, code = session:call(request, timeout)
  session:close()
  return result, message, code
end

return client
