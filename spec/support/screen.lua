--- A real terminal for specs: tmux types into it, as a person would, and shows what it holds.
-- @module spec.support.screen
local async = require("moonlb.async")
local program = require("spec.support.program")

local screen = {}

local count = 0 -- of terminals

local Screen = {}
Screen.__index = Screen

--- Run tmux on a server of the screen's own.
function Screen:tmux(...)
  return program.run("tmux", { "-S", ("%s/tmux%d"):format(self.folder, self.number), "-f", "/dev/null", ... })
end

function Screen:text()
  return (self:tmux("capture-pane", "-p", "-S", "-200", "-t", "it").stdout:gsub("%s+$", ""))
end

--- Type text as it is; then named keys ("Enter", "C-c", "Up").
function Screen:type(text, ...)
  if text ~= "" then self:tmux("send-keys", "-t", "it", "-l", text) end
  for _, key in ipairs({ ... }) do self:tmux("send-keys", "-t", "it", key) end
end

--- Wait until the screen has the (plain) text.
-- @tparam string text
-- @tparam[opt] boolean is_all  until it has that and nothing else
-- @treturn string  all that it has
function Screen:shows(text, is_all)
  local seen
  for _ = 1, 100 do
    seen = self:text()
    if is_all and seen == text or not is_all and seen:find(text, 1, true) then return seen end
    async.sleep(0.1)
  end
  error(("the screen never showed\n%s\nbut\n%s"):format(text, seen), 2)
end

function Screen:clear()
  self:type("", "C-l")
  self:tmux("clear-history", "-t", "it")
end

--- End what runs in it.
function Screen:close()
  self:tmux("kill-server")
end

--- Run a command in a terminal of 100 columns and 40 lines, instead of what ran before; sh(1) says `ended with CODE`.
-- @tparam string command
function Screen:run(command)
  self:close()
  count = count + 1
  self.number = count -- a server that is ending still holds its socket
  local started = self:tmux("new-session", "-d", "-s", "it", "-x", "100", "-y", "40",
    command .. "; echo ended with $?; sleep 60")
  assert(started.code == 0, started.stderr)
end

--- @tparam string folder  for tmux's socket
-- @treturn Screen  in which nothing runs yet
function screen.new(folder)
  return setmetatable({ folder = folder, number = 0 }, Screen)
end

return screen
