--- The running daemon as a session asks it; Ctrl-C ends the wait, and a connection that was lost is made again.
-- @module moonlb.control.repl.remote
local async = require("moonlb.async")
local client = require("moonlb.control.client")
local edit = require("moonlb.core.edit")
local exact = require("moonlb.sandbox.json")
local json = require("moonlb.json")
local uv = require("luv")

local remote = {}

local Remote = { __name = "moonlb.control.repl.remote" }
Remote.__index = Remote

local LOOK = 50 -- milliseconds between looks at Ctrl-C

--- Run a function as a task until it ends or the user interrupts it. The budget of what the user wrote does not run
-- meanwhile: an error in the middle of the loop would leave it in pieces.
-- @treturn ...  what `fn` returned; nil, "interrupted", "EINTR"
function remote.wait(fn)
  if async.running() then return fn() end
  local hook, mask, count = debug.gethook()
  debug.sethook()
  local results, is_interrupted
  local task = async.run(function() results = table.pack(fn()) end)
  local timer = uv.new_timer()
  timer:start(LOOK, LOOK, function()
    if not is_interrupted and edit.interrupted() then
      is_interrupted = true
      task:cancel()
    end
  end)
  while not task.is_done do uv.run("once") end
  timer:close()
  debug.sethook(hook, mask, count)
  if is_interrupted then return nil, "interrupted", "EINTR" end
  if not results then return nil, "the request failed", "EFAULT" end
  return table.unpack(results, 1, results.n)
end

-- As the daemon had it: numbers that are whole are integers, arrays are arrays even when they are empty.
local function as_written(value)
  if math.type(value) == "float" then return math.tointeger(value) or value end
  if value == exact.null then return json.null end
  if type(value) ~= "table" then return value end
  for key, item in pairs(value) do value[key] = as_written(item) end
  return exact.is_list(value) and json.array(value) or value
end

local function decode(text)
  return as_written(assert(exact.decode(text)))
end

local function connect(self)
  local session, message, code = client.connect(self.path, decode)
  if not session then return nil, message, code end
  self.session = session
  if not self.is_writing then return true end
  local ok
  ok, message, code = session:call({ op = "write" })
  return ok and true, message, code
end

local function call(self, request)
  local is_old = self.session ~= nil
  if not self.session then
    local ok, message, code = connect(self)
    if not ok then return nil, message, code end
  end
  local result, message, code = self.session:call(request)
  if self.session.is_ended then self.session = nil end
  -- The daemon was started again, or the person thought for long.
  if result == nil and code == "ECONNRESET" and is_old then return call(self, request) end
  return result, message, code
end

--- Ask the daemon.
-- @tparam table request  see `moonlb.control.operations`
-- @return the result; or nil, message, code
function Remote:ask(request)
  return remote.wait(function() return call(self, request) end)
end

--- Idempotent.
function Remote:close()
  if self.session then self.session:close() end
  self.session = nil
end

--- @tparam string path  of the control socket
-- @tparam[opt] boolean is_writing
-- @treturn Remote|nil  connected; or nil, message, code
function remote.open(path, is_writing)
  local self = setmetatable({ path = path, is_writing = is_writing }, Remote)
  local ok, message, code = remote.wait(function() return connect(self) end)
  if ok then return self end
  return nil, message, code
end

return remote
