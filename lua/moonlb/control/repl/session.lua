--- One session: lines in, values out. What is typed runs in this process; the daemon is only asked what it knows.
-- @module moonlb.control.repl.session
local budget = require("moonlb.control.repl.budget")
local chunk = require("moonlb.control.repl.chunk")
local help = require("moonlb.control.repl.help")
local json = require("moonlb.json")
local names = require("moonlb.control.repl.names")
local planning = require("moonlb.control.repl.planning")
local printable = require("moonlb.printable")
local show = require("moonlb.control.repl.show")
local tables = require("moonlb.cli.table")

local session = {}

local Session = { __name = "moonlb.control.repl.session" }
Session.__index = Session

local LONGEST = 256 << 10 -- bytes of one input
local SHOWN_TESTS = 5

--- @tparam table options  `source` (`:ask(request)`), `write(text)`, `has_colour`, `width()` (of the terminal, or
-- nil), `limits` (of `budget.call`)
-- @treturn Session
function session.new(options)
  local self = setmetatable({ source = options.source, out = options.write, limits = options.limits,
    width = options.width or function() end, paint = tables.painter(options.has_colour) }, Session)
  names.environment(self)
  return self
end

--- Print.
function Session:write(text)
  self.out(text)
end

local function complain(self, message)
  self:write(self.paint(printable.lines(message), "red") .. "\n")
end

--- A value as text, as the terminal has room for it.
-- @tparam[opt] integer rows
-- @treturn string  lines, the last one without its end
function Session:text_of(value, rows)
  return table.concat(show.lines(value, { paint = self.paint, width = self.width(), rows = rows }), "\n")
end

local function show_values(self, values)
  for i = 1, values.n do self:write(self:text_of(values[i]) .. "\n") end
end

local COMMANDS = {}

-- Each takes the session and the rest of the line, and returns whether it went well.

function COMMANDS.help(self, topic)
  local text = topic == "" and help.all() or help.about(topic, self.names)
  if not text then
    complain(self, topic .. ": no such name; help lists them")
    return false
  end
  self:write(text .. "\n")
  return true
end

local function deciding(self)
  return self.policy and "policy " .. self.policy.name or "the policies of the ConfigMap"
end

-- A source on files decides anew: how many Services the policy failed for, and the first of them.
local function use(self, policy)
  local before = self.policy
  self.policy = policy
  if not self.source.use then return 0 end
  local count, first = self.source:use(self)
  if not count then self.policy = before end
  return count, first
end

local function say_tests(self, policy)
  local failed = {}
  for _, it in ipairs(policy.tests) do
    if it.failure then failed[#failed + 1] = "  " .. printable.escape(("%s: %s"):format(it.name, it.failure)) end
  end
  policy.failed_tests = #failed
  if #policy.tests == 0 then return self:write("it has no tests\n") end
  if #failed == 0 then return self:write(("its %d tests pass\n"):format(#policy.tests)) end
  complain(self, ("%d of its %d tests fail:\n%s"):format(#failed, #policy.tests,
    table.concat(failed, "\n", 1, math.min(#failed, SHOWN_TESTS))))
end

function COMMANDS.load(self, path)
  local policy, message = planning.load(path)
  local count, first
  if policy then
    count, first = use(self, policy)
    message = first
  end
  if not count then
    complain(self, ("%s\nnothing is changed: %s still decide%s"):format(message, deciding(self),
      self.policy and "s" or ""))
    return false
  end
  policy.failures = self.source.use and count or nil
  self:write(("policy %s decides in this session\n"):format(policy.name))
  say_tests(self, policy)
  if count > 0 then
    complain(self, ("warning: it fails for %d Services; %s: %s"):format(count, first.name, first.warning))
  end
  return true
end

function COMMANDS.unload(self)
  local ok, message = use(self, nil)
  if not ok then
    complain(self, message)
    return false
  end
  self:write("the policies of the ConfigMap decide\n")
  return true
end

function COMMANDS.quit(self)
  self.is_over = true
  return true
end

-- `help`, `help services` and `:load FILE` are no Lua. nil when the text is none of them; else whether it went well.
local function run_command(self, text)
  local name, rest = text:match("^%s*:(%a+)%s*(.-)%s*$")
  if not name then
    rest = text:match("^%s*help%s*$") and "" or text:match("^%s*help%s+([%w_]+)%s*$")
    name = rest and "help"
  end
  if not name then return nil end
  local command = COMMANDS[name]
  if command then return command(self, rest) end
  complain(self, ":" .. name .. ": no such command; :help lists them")
  return false
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
  local is_well = run_command(self, text)
  if is_well ~= nil then return true, is_well end
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
      for i = 1, math.max(1, values.n) do self:write(printable.json(json.encode(show.plain(values[i]))) .. "\n") end
    end, self.limits)
  end
  if ok then return true end
  return nil, values
end

return session
