--- The names of a session: the daemon's collections and what can be asked of it, in an environment that reaches nothing
-- else of the machine.
-- @module moonlb.control.repl.names
local async = require("moonlb.async")
local bounded = require("moonlb.control.repl.bounded")
local collection = require("moonlb.control.repl.collection")
local environment = require("moonlb.policy.environment")
local help = require("moonlb.control.repl.help")
local page = require("moonlb.control.explain.text")
local planning = require("moonlb.control.repl.planning")
local remote = require("moonlb.control.repl.remote")
local report = require("moonlb.control.explain")
local show = require("moonlb.control.repl.show")

local names = {}

--- The collections, in the order of the help.
names.COLLECTIONS = { "services", "pools", "nodes", "vips", "leases", "mappings", "policy", "config" }

local MOST_ROWS = 1000 -- that `show` prints
local LOOK, LONGEST = 1, 3600 -- seconds between two looks of `watch`; at most so long

-- A result, or the error that it is for who typed.
local function must(result, message)
  if result == nil and message then error(message, 0) end
  return result
end

local function asker(session, op, field, second)
  return function(value, other)
    local request = { op = op }
    if field then
      if type(value) ~= "string" then error(("%s: a text expected, got a %s"):format(op, type(value)), 0) end
      request[field] = value
    end
    if second then request[second] = other end
    return must(session.source:ask(request))
  end
end

local function key_of(text)
  if type(text) ~= "string" then error('explain: "NAMESPACE/NAME" expected', 0) end
  return text:find("/", 1, true) and text or "default/" .. text
end

local function explain(session, text)
  local result = must(session.source:ask({ op = "explain", service = key_of(text) }))
  return show.as_page(report.mark(result), function(it) return page.page(it, false) end)
end

local function probe(session, text)
  local result = asker(session, "who_has", "address")(text)
  local first = result.answers[1]
  result.why = first and ("%s answers for it: %s"):format(first.mac, first.who)
    or result.taken or result.here and "this node announces it: " .. result.here or nil
  result.free, result.taken = result.why == nil, nil
  return result
end

local function evaluate(session, expression)
  if type(expression) == "function" then return expression() end
  local fn = assert(load("return " .. tostring(expression), "=input", "t", session.environment))
  return fn()
end

-- Prints a value now and whenever it is another one.
local function watch(session, expression, seconds)
  seconds = math.min(LONGEST, tonumber(seconds) or 10)
  local before
  for passed = 0, seconds, LOOK do
    local text = session:text_of(evaluate(session, expression))
    if text ~= before then session:write(("%s\n"):format(text)) end
    before = text
    if passed + LOOK > seconds then break end
    local ok, message = remote.wait(function() return async.sleep(LOOK) end)
    if not ok then error(message, 0) end
  end
end

local function printer(session)
  return function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do
      parts[i] = type(parts[i]) == "string" and table.concat(show.lines(parts[i], {}), "\n") or show.inline(parts[i])
    end
    session:write(table.concat(parts, "\t") .. "\n")
  end
end

local function add_functions(env, session)
  env.explain = function(text) return explain(session, text) end
  env.plan = function(service) return planning.plan(session, service) end
  env.probe = function(text) return probe(session, text) end
  env.who_has = asker(session, "who_has", "address")
  env.neighbours = asker(session, "neighbours")
  env.queue = asker(session, "queue")
  env.log = asker(session, "log", "level")
  env.watch = function(...) return watch(session, ...) end
  env.release = asker(session, "release", "address")
  env.move = asker(session, "move", "address", "node")
  env.announce = asker(session, "announce", "address")
  env.reload = asker(session, "reload")
  env.print = printer(session)
  env.show = function(value, rows)
    rows = math.max(1, math.min(MOST_ROWS, math.tointeger(tonumber(rows) or MOST_ROWS) or MOST_ROWS))
    session:write(session:text_of(value, rows) .. "\n")
  end
  env.help = function(name)
    session:write((name and help.about(tostring(name), session.names) or help.all()) .. "\n")
  end
end

-- The source, whose policies have the one that `:load` chose among them.
local function with_chosen(session)
  local function ask(_, request)
    local chosen = session.policy
    local row = chosen and { name = chosen.name, file = chosen.file, is_loaded = true, failures = chosen.failures,
      note = "decides in this session", failed_tests = chosen.failed_tests }
    if row and request.op == "get" and request.key == row.name then return row end
    local result, message, code = session.source:ask(request)
    if not row or type(result) ~= "table" then return result, message, code end
    if request.op == "names" and row.name:sub(1, #request.prefix) == request.prefix then
      result[#result + 1] = row.name
    elseif request.op == "list" then
      result.total = result.total + 1
      if not result.after then result.items[#result.items + 1] = row end
    end
    return result
  end
  return { ask = ask }
end

--- @tparam table session  `source` (`:ask(request)`), `write(self, text)`, `text_of(self, value, rows)`; its
-- `environment` is filled in by this
-- @treturn table  what the user sets is kept in it; the names are behind it and cannot be lost
function names.environment(session)
  local base = environment.new({})
  bounded.apply(base)
  for _, what in ipairs(names.COLLECTIONS) do
    base[what] = collection.new(function() return session.source end, what)
  end
  local policies = with_chosen(session)
  base.policy = collection.new(function() return policies end, "policy")
  add_functions(base, session)
  session.names = base
  session.environment = setmetatable({}, { __index = base, __metatable = "the session's names" })
  return session.environment
end

return names
