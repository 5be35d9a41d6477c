--- One session: lines in, values out. What is typed runs in this process; the daemon is only asked what it knows.
-- @module moonlb.control.repl.session
local budget = require("moonlb.control.repl.budget")
local chunk = require("moonlb.control.repl.chunk")
local help = require("moonlb.control.repl.help")
local json = require("moonlb.json")
local names = require("moonlb.control.repl.names")
local planning = require("moonlb.control.repl.planning")
local show = require("moonlb.control.repl.show")
local tables = require("moonlb.cli.table")

local session = {}

local Session = { __name = "moonlb.control.repl.session" }
Session.__index = Session

local LONGEST = 256 << 10 -- bytes of one input

--- @tparam table options  `source` (`:ask(request)`), `write(text)`, `has_colour`, `limits` (of `budget.call`)
-- @treturn Session
function session.new(options)
  local self = setmetatable({ source = options.source, out = options.write, limits = options.limits,
    paint = tables.painter(options.has_colour) }, Session)
  names.environment(self)
  return self
end

--- Print.
function Session:write(text)
  self.out(text)
end

local function complain(self, message)
  self:write(self.paint(message, "red") .. "\n")
end

local function show_values(self, values)
  for i = 1, values.n do
    self:write(table.concat(show.lines(values[i], { paint = self.paint }), "\n") .. "\n")
  end
end

local COMMANDS = {}

function COMMANDS.help(self, topic)
  local text = topic == "" and help.all() or help.about(topic)
  self:write((text or topic .. ": no such name; help lists them") .. "\n")
end

function COMMANDS.load(self, path)
  local loaded, message = planning.load(self, path)
  if loaded and self.source.use then loaded, message = self.source:use(self) end
  if not loaded then
    self.policy = nil
    return complain(self, message)
  end
  self:write(("policy %s decides in this session\n"):format(self.policy.name))
end

function COMMANDS.unload(self)
  self.policy = nil
  if self.source.use then self.source:use(self) end
  self:write("the policies of the ConfigMap decide\n")
end

function COMMANDS.quit(self)
  self.is_over = true
end

-- `help`, `help services` and `:load FILE` are no Lua. True when the text was one of them.
local function run_command(self, text)
  local name, rest = text:match("^%s*:(%a+)%s*(.-)%s*$")
  if not name then
    rest = text:match("^%s*help%s*$") and "" or text:match("^%s*help%s+([%w_]+)%s*$")
    name = rest and "help"
  end
  if not name then return text:match("^%s*:%a") ~= nil end
  local command = COMMANDS[name]
  if command then command(self, rest) else complain(self, ":" .. name .. ": no such command; :help lists them") end
  return true
end

--- Take one line of input.
-- @tparam string line
-- @treturn boolean  true: what was typed is whole, and was run; false: more lines are needed
-- @treturn boolean  whether it went well
function Session:enter(line)
  local text = self.begun and self.begun .. "\n" .. line or line
  self.begun = nil
  if text:match("^%s*$") then return true, true end
  if #text > LONGEST then
    complain(self, "this is too long")
    return true, false
  end
  if run_command(self, text) then return true, true end
  local fn, message, code = chunk.compile(text, self.environment)
  if not fn and code == "EAGAIN" then
    self.begun = text
    return false, true
  end
  self.whole = text
  if not fn then
    complain(self, message)
    return true, false
  end
  local ok, values = budget.call(fn, self.limits)
  if ok then ok, values = budget.call(function() show_values(self, values) end, self.limits) end
  if not ok then complain(self, values) end
  return true, ok
end

--- Forget the lines of an input that is not whole.
function Session:abandon()
  self.begun = nil
end

--- Evaluate an expression, or statements that end in `return`, for a script.
-- @tparam string text
-- @tparam string output  "table" or "json"
-- @treturn true|nil  nil and what is wrong
function Session:evaluate(text, output)
  local fn, message = chunk.compile(text, self.environment)
  if not fn then return nil, message end
  local ok, values = budget.call(fn, self.limits)
  if ok then
    ok, values = budget.call(function()
      if output ~= "json" then return show_values(self, values) end
      for i = 1, math.max(1, values.n) do self:write(json.encode(show.plain(values[i])) .. "\n") end
    end, self.limits)
  end
  if ok then return true end
  return nil, values
end

return session
