--- The control socket: a Unix socket on which a person's command asks the running daemon, one line of JSON each way.
--
-- A request is `{"op": NAME, ...}`; the answer `{"result": VALUE}` or `{"error": MESSAGE, "code": CODE}`. Requests of
-- one connection are answered one after the other, and nothing is read meanwhile: who sends without reading fills its
-- own socket's buffer. Everything is bounded: connections, a line, an answer, and the time for each.
-- @module moonlb.control.server
local async = require("moonlb.async")
local cjson = require("cjson")
local json = require("moonlb.json")
local log = require("moonlb.core.log")
local peer = require("moonlb.core.peer")
local uv = require("luv")

local server = {}

local Server = { __name = "moonlb.control.server" }
Server.__index = Server

local Connection = { __name = "moonlb.control.connection" }
Connection.__index = Connection

local BACKLOG = 128
local LONGEST_PATH = 107 -- bytes of sun_path, unix(7); libuv cuts a longer one without a word
local DEFAULTS = {
  connections = 64,         -- at once; one more is told so and closed
  line = 64 << 10,          -- bytes of a request
  result = 1 << 20,         -- bytes of an answer
  idle = 900,               -- seconds without a request: a person thinks long
  line_time = 10,           -- seconds from a request's first byte to its end
  answer_time = 30,         -- seconds for an operation, and then for its answer to be taken
}
-- Who is sent away may still be writing; closing then would take our last words with it (unix(7): unread data makes the
-- other end's read fail). So it is heard out for so many seconds, if no more than so many are.
local PARTING_TIME, PARTING = 0.5, 64

local function encode_error(message, code)
  return json.encode({ error = message, code = code }) .. "\n"
end

-- The answer's line. What an operation gives may be no JSON value, or too much.
local function encode_answer(self, result, message, code)
  if result == nil and message then return encode_error(tostring(message), code) end
  local ok, text = pcall(json.encode, { result = result == nil and json.null or result })
  if not ok then return encode_error("the answer is no JSON: " .. tostring(text), "EPROTO") end
  if #text <= self.limits.result then return text .. "\n" end
  return encode_error(("the answer has %d bytes, of %d at most: ask for less"):format(#text, self.limits.result),
    "EMSGSIZE")
end

-- Connections -------------------------------------------------------------------------------------------------------

local function part(self, pipe)
  if self.parting >= PARTING or self.is_closed then return pipe:close() end
  self.parting = self.parting + 1
  local timer
  local function leave()
    timer:stop()
    if pipe:is_closing() then return end
    self.parting = self.parting - 1
    pipe:close()
  end
  timer = async.timer(PARTING_TIME, leave)
  pipe:shutdown()
  pipe:read_start(function(err, data) if err or not data then leave() end end)
end

--- Close it, whatever it does.
-- @tparam[opt] boolean has_last_words  let the other end read them
function Connection:close(has_last_words)
  if self.is_closed then return end
  self.is_closed = true
  self.server.open[self] = nil
  self.server.count = self.server.count - 1
  if self.timer then self.timer:stop() end
  if self.task then self.task:cancel() end
  self.pending = nil
  if self.on_close then self.on_close() end
  if has_last_words then part(self.server, self.pipe) else self.pipe:close() end
end

-- One deadline at a time; each step of a connection's life has its own.
local function set_deadline(self, seconds)
  if self.timer then self.timer:stop() end
  self.timer = async.timer(seconds, function() self:close() end)
end

local listen_again

-- Send an answer. While the other end does not take it nothing else is done for this connection.
local function send(self, text, is_last)
  if self.is_closed then return end
  set_deadline(self, self.server.limits.answer_time)
  self.pipe:write(text, function(err)
    if err or is_last then return self:close(not err) end
    listen_again(self)
  end)
end

-- An operation may wait, and answers once: by what it returns, or before that by `reply`.
local function perform(self, operation, request)
  local is_answered = false
  local function reply(...)
    if is_answered then return end
    is_answered = true
    self.task = nil
    send(self, encode_answer(self.server, ...))
  end
  local ok, err = xpcall(operation, debug.traceback, request, reply, self)
  if ok or self.is_closed then return end
  log.error("control operation failed", { operation = request.op, error = err })
  reply(nil, ("%s failed; the daemon's log says where"):format(request.op), "EFAULT")
end

local function answer(self, line)
  local ok, request = pcall(cjson.decode, line)
  if not ok or type(request) ~= "table" or type(request.op) ~= "string" then
    return send(self, encode_error("a line of JSON with \"op\" expected", "EBADMSG"), true)
  end
  local operation = self.server.operations[request.op]
  if not operation then
    return send(self, encode_error("unknown operation: " .. request.op:sub(1, 64), "ENOSYS"))
  end
  set_deadline(self, self.server.limits.answer_time)
  local task = async.run(perform, self, operation, request)
  if not task.is_done and not self.is_closed then self.task = task end
end

-- Take the next whole line, if there is one; else read on.
local function take_line(self)
  local at = self.pending:find("\n", 1, true)
  if (at or #self.pending) > self.server.limits.line then
    local message = ("a request has %d bytes at most"):format(self.server.limits.line)
    return send(self, encode_error(message, "EMSGSIZE"), true)
  end
  if not at then return false end
  local line = self.pending:sub(1, at - 1)
  self.pending = self.pending:sub(at + 1)
  self.pipe:read_stop()
  answer(self, line)
  return true
end

local function on_data(self, err, data)
  if self.is_closed then return end
  if err or not data then return self:close() end
  if self.pending == "" then set_deadline(self, self.server.limits.line_time) end
  self.pending = self.pending .. data
  if #self.pending > self.server.limits.line then self.pipe:read_stop() end
  take_line(self)
end

function listen_again(self)
  if self.is_closed then return end
  set_deadline(self, self.pending == "" and self.server.limits.idle or self.server.limits.line_time)
  if self.pending ~= "" and take_line(self) ~= false then return end
  self.pipe:read_start(function(err, data) on_data(self, err, data) end)
end

-- Root, and who runs this daemon. The mode of the file says the same; this holds also where the file was passed on.
local function is_welcome(self, pipe)
  local uid, pid = peer.credentials(pipe:fileno())
  if not uid then return false end
  if uid == 0 or uid == self.uid then return true, uid, pid end
  log.warn("control socket: refused", { uid = uid, pid = pid })
  return false
end

local function refuse(self, pipe, message, code)
  pipe:try_write(encode_error(message, code))
  part(self, pipe)
end

local function accept(self)
  local pipe = uv.new_pipe(false)
  if not self.pipe:accept(pipe) then return pipe:close() end
  if self.count >= self.limits.connections then
    return refuse(self, pipe, ("%d are connected already"):format(self.count), "EBUSY")
  end
  local ok, uid, pid = is_welcome(self, pipe)
  if not ok then return refuse(self, pipe, "only root and the daemon's own user may ask", "EACCES") end
  local connection = setmetatable({ server = self, pipe = pipe, pending = "", uid = uid, pid = pid }, Connection)
  self.open[connection] = true
  self.count = self.count + 1
  listen_again(connection)
end

-- Listening ---------------------------------------------------------------------------------------------------------

-- Does anybody answer at the path? true, false; or nil, message, code.
local function is_answered(path)
  local pipe = uv.new_pipe(false)
  local err = async.await(function(resume)
    pipe:connect(path, function(reason) resume(reason or "connected") end)
  end)
  pipe:close()
  if err == "connected" then return true end
  if err == "ECONNREFUSED" or err == "ENOENT" then return false end
  return nil, ("%s: %s"):format(path, err), err
end

-- A socket that a killed daemon left is in the way; another daemon's, or what is no socket, stays.
local function clear(path)
  local found = uv.fs_lstat(path)
  if not found then return true end
  if found.type ~= "socket" then return nil, path .. ": there is something that is no socket", "EEXIST" end
  local is_alive, message, code = is_answered(path)
  if is_alive == nil then return nil, message, code end
  if is_alive then return nil, path .. ": another moonlb answers there", "EADDRINUSE" end
  local ok, err, name = uv.fs_unlink(path)
  if not ok then return nil, err, name end
  return true
end

local function bind(self)
  local ok, message, code = self.pipe:bind(self.path)
  if ok then ok, message, code = uv.fs_chmod(self.path, tonumber("600", 8)) end
  if ok then ok, message, code = self.pipe:listen(BACKLOG, function(err) if not err then accept(self) end end) end
  if ok then return true end
  return nil, ("%s: %s"):format(self.path, message), code
end

--- Listen. In a task.
-- @tparam table options  `path`; `operations`: name -> `function(request, reply, connection)`, run in a task of its
-- own, answers once by `reply(result)` or `reply(nil, message, code)`, and may wait first; `connection.uid` and `.pid`
-- say who asks, `connection.session` is the operation's to keep things in, `connection.on_close` is called at its end;
-- `uid`: who else but root is welcome (default: this process's); `limits`: of the names in DEFAULTS
-- @treturn Server|nil  with `close()`, `count`; or nil, message, code: `"EADDRINUSE"` when somebody answers there
function server.listen(options)
  assert(type(options.path) == "string" and type(options.operations) == "table", "path and operations expected")
  if #options.path > LONGEST_PATH then
    return nil, ("%s: longer than %d bytes"):format(options.path, LONGEST_PATH), "ENAMETOOLONG"
  end
  local ok, message, code = clear(options.path)
  if not ok then return nil, message, code end
  local self = setmetatable({ path = options.path, operations = options.operations, open = {}, count = 0, parting = 0,
    uid = options.uid or uv.getuid(), limits = setmetatable(options.limits or {}, { __index = DEFAULTS }),
    pipe = uv.new_pipe(false) }, Server)
  ok, message, code = bind(self)
  if ok then return self end
  self.pipe:close()
  return nil, message, code
end

--- Close every connection; the file goes with it (libuv unlinks what it bound).
function Server:close()
  if self.is_closed then return end
  self.is_closed = true
  for connection in pairs(self.open) do connection:close() end
  self.pipe:close()
end

return server
