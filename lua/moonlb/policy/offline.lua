--- A policy by itself, in a worker of its own: for the command line, and for a trial before a swap.
-- @module moonlb.policy.offline
local async = require("moonlb.async")
local policy_host = require("moonlb.policy.host")
local runtime = require("moonlb.core.runtime")
local uv = require("luv")
local worker = require("moonlb.policy.worker")

local offline = {}

local Trial = { __name = "moonlb.policy.trial" }
Trial.__index = Trial

--- Load a policy where a mounted one would run, inside a task.
-- @tparam string name
-- @tparam string text  Lua source
-- @tparam string file  for messages
-- @tparam[opt] table options  `settings`, `now`, `utc`, `http`: of `worker.new`; `fallback`: of `host.new`
-- @treturn Trial|nil  `host`, `backend`, `name`, `loaded` (what the back end says of it), `close()`; or nil and what is
-- wrong, with file and line
function offline.open(name, text, file, options)
  options = options or {}
  local now = options.now or runtime.boottime
  local backend = worker.new({ settings = options.settings or {}, now = now, utc = options.utc or runtime.walltime,
    http = options.http })
  local host = policy_host.new({ now = now, fallback = options.fallback or "pending" })
  local loaded, message = host:load(name, text, file, backend)
  if loaded then return setmetatable({ host = host, backend = backend, name = name, loaded = loaded }, Trial) end
  backend:close()
  return nil, message
end

--- Read a policy's file.
-- @tparam string path
-- @treturn string|nil  its text; or nil and what is wrong
function offline.read(path)
  local most = worker.MAX_TEXT
  local stat = uv.fs_stat(path)
  if stat and stat.type == "file" and stat.size > most then
    return nil, ("%s: %d bytes, at most %d"):format(path, stat.size, most)
  end
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text, problem = file:read(most + 1)
  file:close()
  if problem then return nil, path .. ": " .. problem end
  if not text then return nil, path .. ": the file is empty; a policy returns a table" end
  if #text > most then return nil, ("%s: more than %d bytes"):format(path, most) end	-- a pipe: it has no size
  return text
end

--- End its worker.
function Trial:close()
  self.backend:close()
end

--- The name by which a file's policy is known: the file's, without folder and ending. The stock policy's name is taken.
function offline.name_of(path)
  local name = path:match("([^/]+)$"):gsub("%.lua$", ""):gsub("[^%w_-]", "-")
  return name == "default" and "default-of-file" or name
end

--- Run a function as a task, and the loop until it has ended. For programs without a loop of their own.
function offline.run(fn)
  local ok, message
  local task = async.run(function() ok, message = xpcall(fn, debug.traceback) end)
  while not task.is_done do uv.run("once") end
  if not ok then error(message, 0) end
end

return offline
