--- A stand-in for a policy worker: the same state and the same messages, in this process. What
-- `moonlb.policy.worker_session` takes
-- as `start`.
-- @module spec.support.policy_local
local core = require("moonlb.core.policy_worker")
local uv = require("luv")

local policy_local = {}

local Local = {}
Local.__index = Local

--- See `moonlb.core.policy_worker.start`; `on_end` is never called.
function policy_local.start(options)
  local opened, message, code = core.open_local(options)
  if not opened then return nil, message, code end
  return setmetatable({ opened = opened, on_answer = options.on_answer, timer = uv.new_timer() }, Local)
end

function Local:send(kind, id, parts)
  local answered, value, code = self.opened:answer(kind, id, parts)
  if not answered then return nil, value, code end
  self.timer:start(0, 0, function() self.on_answer(answered, id, value) end)
  return true
end

function Local.most()
  return 256 * 1024
end

function Local.pid()
  return uv.os_getpid()
end

function Local.reject(_, why)
  error("the state in this process was rejected: " .. why)
end

function Local:close()
  self.timer:close()
  self.opened:close()
end

return policy_local
