local attacks = require("spec.support.attacks")
local core = require("moonlb.core.policy_worker")
local loop = require("spec.support.loop")
local uv = require("luv")

-- Seconds in which one attack must have ended; far above what it takes, also under a sanitizer.
local PATIENCE = 60

-- Run the corpus from `first` on in a child. Returns the file that it hung or died in; nil at the end.
local function run_child(first, results)
  local out, text, current, is_done, exited = uv.new_pipe(), "", nil, false, nil
  local timer = uv.new_timer()
  local args = { "-o", "spec/support/output.lua", "spec/support/attack_child.lua" }
  local child = assert(uv.spawn(uv.exepath(), { args = args,
    env = { "ATTACK_FROM=" .. first }, stdio = { nil, out, nil } }, function(code, signal) exited = signal + code end))
  local function wait() timer:start(PATIENCE * 1000, 0, function() child:kill("sigkill") end) end
  local function take(line)
    local what, name, a, b = line:match("^(%u+)\t?([^\t]*)\t?([^\t]*)\t?(.*)$")
    if what == "ATTACK" then current = name end
    if what == "RESULT" then results[name] = { a = a, b = b ~= "" and b or nil } end
    if what == "DONE" then is_done = true end
    wait()
  end
  wait()
  out:read_start(function(_, data)
    text = text .. (data or "")
    text = text:gsub("([^\n]*)\n", function(line) take(line) return "" end)
  end)
  loop.until_true(function() return exited end, 600, "the child")
  timer:close()
  out:close()
  child:close()
  return not is_done and current or nil
end

local results

local function result_of(name)
  local first = ""
  while not results or (first and first ~= "") do
    results = results or {}
    local stuck = run_child(first, results)
    if stuck then results[stuck] = { a = "killed" } end
    first = stuck and stuck .. "\1"
  end
  return results[name]
end

describe("a hostile policy in the state of this process", function()
  for _, name in ipairs(attacks.files()) do
    it("ends in its own error: " .. name, loop.test(function()
      local _, expect = attacks.read(name)
      local result = result_of(name)
      assert.matches("^" .. expect["local"] .. "$", result.a)
      if result.b then assert.matches("^" .. expect.next .. "$", result.b) end
    end, 600))
  end
end)

-- Evaluate an expression in a policy's environment: what it gives comes back as the reason of a refusal.
local function evaluate(expression)
  local state = assert(core.open_local({}))
  local text = ("return { api = 1, rules = { function() return refuse(tostring(%s)) end } }"):format(expression)
  local stock = "rule = rule return { api = 1, rules = { function() end } }"
  local kind, value = state:answer("L", 1, { assert(core.pack({ name = "t", file = "t.lua", text = text, stock = stock,
    settings = { configmap = "kube-system/kubevip" }, memory = 1 << 24 })) })
  assert.equal("L", kind, value.message)
  local clock = core.pack({ now = 0, utc = 0, memory = 1 << 24 })
  local object = core.pack({ metadata = { name = "a", namespace = "n" }, spec = { type = "LoadBalancer" } })
  assert.equal("V", (state:answer("V", 2, { clock, core.pack({ "set_service", object }) })))
  kind, value = state:answer("D", 3, { clock, core.pack({ key = "n/a" }) })
  assert.equal("D", kind, value)
  state:close()
  return value.outcomes[1].reason
end

describe("the language of a policy", function()
  it("has these names and no others", function()
    local names = { "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget",
      "rawlen", "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall", "_VERSION", "math",
      "string", "table", "utf8", "rule", "use", "share", "dhcp", "refuse", "http", "log" }
    local wanted = {}
    for _, name in ipairs(names) do wanted[name] = true end
    for name in pairs(_G) do
      local is_there = evaluate(("%s ~= nil"):format(name)) == "true"
      assert.equal(wanted[name] or false, is_there, name)
    end
    for _, name in ipairs(names) do assert.equal("true", evaluate(name .. " ~= nil"), name) end
  end)

  it("reads its libraries as they are", function()
    assert.equal("table", evaluate("type(string)"))
    assert.equal("true", evaluate([[(function()
      for name in pairs(string) do if name == "find" then return true end end
    end)()]]))
    assert.equal("true", evaluate([[(function()
      local iterator, view, first = pairs(string)
      return view == string and first == nil and iterator({ x = 1 }) ~= "x"
    end)()]]))
    assert.equal("3.14", evaluate("string.format('%.2f', math.pi)"))
    assert.equal("1,2,3", evaluate("table.concat({ 1, 2, 3 }, ',')"))
    assert.equal("2 1", evaluate([[(function()
      local list = { 1, 2 }
      table.sort(list, function(a, b) return a > b end)
      return table.concat(list, " ")
    end)()]]))
    assert.equal("aXb", evaluate("('a'):rep(1) .. ('x'):upper() .. ('b'):lower()"))
  end)

  it("gives xpcall's handler the error, after it", function()
    assert.equal("false handled: t.lua:2: oh", evaluate([[(function()
      local ok, why = xpcall(function(a) error(a) end, function(e) return "handled: " .. e end, "oh")
      return tostring(ok) .. " " .. why
    end)()]]))
    assert.equal("true 7", evaluate([[(function()
      local ok, n = xpcall(function(a, b) return a + b end, error, 3, 4)
      return tostring(ok) .. " " .. n
    end)()]]))
  end)

  it("lets a policy have metatables, and change its own tables", function()
    assert.equal("5", evaluate("setmetatable({}, { __index = function() return 5 end }).x"))
    assert.equal("6", evaluate("rawset({}, 'x', 6).x"))
    assert.equal("nil", evaluate("getmetatable(setmetatable({}, nil))"))
  end)
end)

-- Calls a function of the string library for each pair of text and pattern. Runs here as it is, and as a policy's
-- text there.
local EACH = [[
local function each(call, texts, patterns, expected, ...)
  local results = {}
  for _, text in ipairs(texts) do
    for _, pattern in ipairs(patterns) do
      local r = table.pack(pcall(call, text, pattern, ...))
      for i = 1, r.n do r[i] = tostring(r[i]) end
      local result = table.concat(r, " "):gsub("^false .-:%d+: ", "false "):gsub("^(false .-) in function .*", "%1")
        :gsub("invalid capture index.*", "invalid capture"):gsub("invalid pattern capture", "invalid capture")
      local at = #results + 1
      results[at] = result
      if expected and expected[at] ~= result then
        return ("%q, %q: %s, not %s"):format(text, pattern, result, expected[at])
      end
    end
  end
  return results
end
]]

local function literal(list)
  local parts = {}
  for i, item in ipairs(list) do parts[i] = ("%q"):format(item) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

describe("the patterns of a policy", function()
  local texts = { "", "a", "hello world", "key = value", "(a(b)c)", "10.9.0.1", "THE (quick) fox", "a\0b", "  x  ",
    "]]^^--", "aaaaab" }
  local patterns = { "", "a", ".", "%a+", "(%w+)%s*=%s*(%w+)", "%b()", "%f[%w]%w+", "^%s*(.-)%s*$", "()a()",
    "(a*(.)%w(%s*))", "[%a_][%w_]*", "[^%s]+", "[]]", "[^]]", "[a-]", "[%-x]", "%d+%.%d+", "(.)%1", "a-b", "a?a?aaa",
    "l+", "$", "^", "^a$", "%%", "%", "[a", "[a%", "(", ")", "%b", "%bx", "%f", "(a", "a)", "%1", "(%1)", "%z", "\0",
    "[\0-b]", ".-", "(.-)(.-)$", "x*", "(())", "[%a-z]", "[a-%%]", "%S+$", ".-%f[%W]", "[^%D]", "^(a+)(b?)" }

  local function compare(call, ...)
    local run = "return function(...) return each(" .. call .. ", ...) end"
    local wanted = assert(load(EACH .. run))()(texts, patterns, nil, ...)
    assert.equal(#texts * #patterns, #wanted)
    local extra = select("#", ...) > 0 and ", " .. literal({ ... }):sub(2, -2) or ""
    local program = "(function() %s local found = each(%s, %s, %s, %s%s) return found end)()"
    program = program:format(EACH, call, literal(texts), literal(patterns), literal(wanted), extra)
    assert.equal("table", evaluate(program))
  end

  it("find as those of Lua", function()
    compare("string.find")
    compare("string.find", 3)
    compare("string.find", -2)
  end)

  it("match as those of Lua", function()
    compare("string.match")
    compare("string.match", 2)
  end)

  it("replace as those of Lua", function()
    compare("string.gsub", "<%0>")
    compare("string.gsub", "%1%%", 2)
    compare("string.gsub", "%9")
  end)

  it("go through a text as those of Lua", function()
    local all = [[function(text, pattern)
      local list = {}
      for a, b in string.gmatch(text, pattern) do list[#list + 1] = tostring(a) .. "," .. tostring(b) end
      return table.concat(list, ";")
    end]]
    compare("(" .. all .. ")")
  end)

  it("call a function or look into a table for each match", function()
    assert.equal("HELLO world", evaluate("(('hello world'):gsub('^%a+', string.upper))"))
    assert.equal("1 $b", evaluate("(('$a $b'):gsub('%$(%w+)', { a = 1 }))"))
    assert.equal("x x", evaluate("(('x x'):gsub('%w', function() return false end))"))
  end)
end)
