--- Carries TCP connections across network namespaces, so that a node of the sandbox's LAN reaches an API server that
-- listens on the loopback of another: outside, a Unix socket that leads to the server; inside the node, its own
-- 127.0.0.1 that leads to the Unix socket (which knows no network namespaces, unix(7)).
-- @module moonlb.sandbox.forward
local uv = require("luv")

local forward = {}

local Forward = { __name = "moonlb.sandbox.forward" }
Forward.__index = Forward

local BACKLOG = 128

local function new_stream(place)
  return place.path and uv.new_pipe(false) or uv.new_tcp()
end

local function connect(stream, place, done)
  if place.path then return stream:connect(place.path, done) end
  return stream:connect(place.host, place.port, done)
end

local function close(stream)
  if not stream:is_closing() then stream:close() end
end

-- From one stream to the other; one piece under way at a time, so that a slow reader holds the writer back.
local function pump(from, to, ended)
  from:read_start(function(err, data)
    if err then return ended(true) end
    if not data then
      if to:is_closing() then return ended(true) end
      return to:shutdown(function() ended(false) end)
    end
    from:read_stop()
    to:write(data, function(write_err)
      if write_err or from:is_closing() then return ended(true) end
      pump(from, to, ended)
    end)
  end)
end

local function join(near, far)
  local open = 2
  local function ended(is_broken)
    open = is_broken and 0 or open - 1
    if open > 0 then return end
    close(near)
    close(far)
  end
  pump(near, far, ended)
  pump(far, near, ended)
end

local function accept(self)
  local near, far = new_stream(self.listen), new_stream(self.target)
  self.listener:accept(near)
  connect(far, self.target, function(err)
    if not err then return join(near, far) end
    close(near)
    close(far)
  end)
end

local function bind(self)
  if self.listen.path then return self.listener:bind(self.listen.path) end
  return self.listener:bind(self.listen.host, self.listen.port)
end

--- Listen, and lead every connection to the target.
-- @tparam table listen  `{path=}` or `{host=, port=}` (port 0: any)
-- @tparam table target  the same
-- @treturn Forward  with `port` (TCP); or nil, message, code
function forward.start(listen, target)
  local self = setmetatable({ listen = listen, target = target, listener = new_stream(listen) }, Forward)
  local ok, message, code = bind(self)
  if ok then ok, message, code = self.listener:listen(BACKLOG, function(err) if not err then accept(self) end end) end
  if not ok then
    close(self.listener)
    return nil, "cannot listen on " .. (listen.path or listen.host .. ":" .. listen.port) .. ": " .. message, code
  end
  self.port = not listen.path and self.listener:getsockname().port or nil
  return self
end

--- Accept no more; connections under way go on. Idempotent.
function Forward:close()
  close(self.listener)
end

return forward
