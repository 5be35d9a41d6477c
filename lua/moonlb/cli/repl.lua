--- `moonlb repl`: a session with the running daemon, or on files.
-- @module moonlb.cli.repl
local complete = require("moonlb.control.repl.complete")
local edit = require("moonlb.core.edit")
local manifests = require("moonlb.cli.manifests")
local offline = require("moonlb.control.repl.offline")
local remote = require("moonlb.control.repl.remote")
local session = require("moonlb.control.repl.session")
local settings = require("moonlb.cli.settings")
local tables = require("moonlb.cli.table")
local uv = require("luv")

local repl = { name = "repl", summary = "ask the running daemon, in Lua; or, with -f, try things on files" }

local IDLE = 3600 -- seconds; kubectl exec leaves a session in the Pod when its connection is lost, and no signal comes
local MEMORY = 256 << 20 -- bytes that a session may map beyond what the program itself does
local GROUPS = { Kubernetes = true, Allocating = true }

--- The flags that `repl` and `eval` share.
-- @param parser  argparse's command
function repl.add_flags(parser)
  parser:option("-f --filename", "manifests instead of a daemon: a file, a folder or - for standard input")
    :count("*"):argname("FILE")
  parser:flag("--write", "the session may change things; the daemon's log and an Event say so")
  parser:option("--socket", "the daemon's control socket (default: control.sock in --state-dir)"):argname("PATH")
  settings.configure(parser, function(setting) return GROUPS[setting.group] or setting.key == "state_dir" end)
end

local function seconds(text)
  local value = math.tointeger(tonumber(text))
  if value and value >= 0 and value <= 1000000 then return value end
  return nil, ("--idle: whole seconds expected, at most 1000000: %q"):format(text)
end

--- @param parser  argparse's command
function repl.configure(parser)
  repl.add_flags(parser)
  parser:option("--idle", "end when nothing is typed for so many seconds; 0: never (default: " .. IDLE .. ")",
    IDLE):argname("SECONDS"):convert(seconds)
  parser:option("--history", "where lines are kept (default: ~/.moonlb_history, else in --state-dir)"):argname("FILE")
end

--- What a session asks, by the flags.
-- @treturn table|nil  with `ask` and `close`, and the settings; or nil and what is wrong
function repl.open_source(args)
  local values, message = settings.resolve(args, uv.os_environ())
  if not values then return nil, message end
  if not args.filename[1] then
    local source
    source, message = remote.open(args.socket or values.state_dir .. "/control.sock", args.write)
    return source, source and values or message
  end
  if args.write then return nil, "--write and -f: there is no daemon that could change anything" end
  local objects
  objects, message = manifests.read(args.filename)
  if not objects then return nil, message end
  local engine_settings = { configmap = values.configmap_namespace .. "/" .. values.configmap,
    lb_class_name = values.lb_class_name, lb_class_only = values.lb_class_only, no_spec_ip = values.no_spec_ip }
  return offline.open(objects, engine_settings), values
end

-- The first file that can be written to.
local function history_file(args, values)
  if args.history then return args.history end
  local home = os.getenv("HOME")
  for _, path in ipairs({ home and home .. "/.moonlb_history" or "", values.state_dir .. "/repl_history" }) do
    local fd = path ~= "" and uv.fs_open(path, "a", tonumber("600", 8))
    if fd then
      uv.fs_close(fd)
      return path
    end
  end
  return nil
end

local function greet(self, args)
  local about = self.source:ask({ op = "version" })
  if args.filename[1] then return self:write("moonlb on files. help lists the names, Ctrl-D leaves.\n") end
  self:write(("moonlb %s on %s%s. help lists the names, Ctrl-D leaves.\n"):format(about and about.version or "?",
    about and about.node or "?", args.write and ", may write" or ", read only"))
end

-- A person at a terminal.
local function converse(self, args, values)
  local editor, message = edit.open({ history = history_file(args, values),
    complete = function(before) return complete.at(self, before) end })
  if not editor then return nil, message end
  greet(self, args)
  while not self.is_over do
    local line, _, code = editor:read(self.begun and "     .. " or "moonlb> ", args.idle > 0 and args.idle or nil)
    if code == "ETIMEDOUT" then
      self:write(("\nnothing was typed for %d s\n"):format(args.idle))
      break
    elseif code == "EINTR" then
      self:abandon()
      self:write("^C\n")
    elseif line == nil then
      self:write("\n")
      break
    else
      if self:enter(line) and line:match("%S") then editor:remember(self.whole or line) end
      if not self.begun then self.whole = nil end
    end
  end
  editor:close()
  return true
end

-- Lines from a pipe: no prompt, no greeting; the exit code tells whether all went well.
local function follow(self)
  local is_well = true
  for line in io.stdin:lines() do
    local _, ok = self:enter(line)
    is_well = is_well and ok
    if self.is_over then break end
  end
  if self.begun then
    self:write("the input ends in the middle of a statement\n")
    return false
  end
  return is_well
end

--- @tparam table args
-- @treturn integer  0; 1: something typed into a pipe failed; 2: no session could be begun
function repl.run(args)
  io.stdout:setvbuf("line")
  edit.catch_interrupts()
  local source, values = repl.open_source(args)
  if not source then
    io.stderr:write("moonlb repl: " .. values .. "\n")
    return 2
  end
  edit.limit_memory(MEMORY)
  local self = session.new({ source = source, has_colour = tables.wants_colour(),
    width = tables.terminal_width,
    write = function(text) io.stdout:write(text) end })
  local is_person = uv.guess_handle(0) == "tty" and uv.guess_handle(1) == "tty"
  local ok, message
  if is_person then ok, message = converse(self, args, values) else ok = follow(self) end
  source:close()
  if message then io.stderr:write("moonlb repl: " .. message .. "\n") end
  return ok and 0 or 1
end

return repl
