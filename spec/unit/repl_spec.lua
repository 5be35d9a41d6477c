--- moonlb.control.repl: what a session makes of what is typed, on files.
local chunk = require("moonlb.control.repl.chunk")
local complete = require("moonlb.control.repl.complete")
local help = require("moonlb.control.repl.help")
local manifests = require("moonlb.cli.manifests")
local offline = require("moonlb.control.repl.offline")
local session = require("moonlb.control.repl.session")
local show = require("moonlb.control.repl.show")
local temporary = require("spec.support.temporary")
local tables = require("moonlb.cli.table")

local function session_on(objects, limits)
  local source = offline.open(objects, { configmap = "kube-system/kubevip" })
  local it = { text = "" }
  it.session = session.new({ source = source, limits = limits, has_colour = false,
    write = function(text) it.text = it.text .. text end })
  -- What is printed for these lines.
  function it.type(...)
    it.text = ""
    for _, line in ipairs({ ... }) do it.is_whole, it.is_well = it.session:enter(line) end
    return it.text
  end
  return it
end

local function new_session(limits)
  return session_on(assert(manifests.read({ "manifests/examples/shop.yaml" })), limits)
end

local function service(namespace, name)
  return { kind = "Service", metadata = { namespace = namespace, name = name },
    spec = { type = "LoadBalancer", ports = { { port = 80 } } } }
end

describe("chunk.lift", function()
  local CASES = {
    { "local x = 1", " x = 1" }, { "local x", " x = nil;" }, { "local x, y = 1, 2", " x, y = 1, 2" },
    { "local x <const> = 1", " x = 1" }, { "local function f() local y = 1 end", " function f() local y = 1 end" },
    { "do local x = 1 end", "do local x = 1 end" }, { "if a then local x end", "if a then local x end" },
    { "for i = 1, 2 do local x end local y", "for i = 1, 2 do local x end  y = nil;" },
    { "repeat local x until x", "repeat local x until x" }, { "f(function() local x end) local y = 2",
      "f(function() local x end)  y = 2" }, { "s = 'local x'", "s = 'local x'" },
    { "s = [[local x]]", "s = [[local x]]" },
    { "-- local x\nlocal y = 1", "-- local x\n y = 1" }, { "--[[ local x ]] local y = 1", "--[[ local x ]]  y = 1" },
    { "x = 'a\\'local b'", "x = 'a\\'local b'" }, { "while f() do local a end", "while f() do local a end" },
    { "local x == 1", " x = nil; == 1" },
  }
  for _, case in ipairs(CASES) do
    it(("makes %q of %q"):format(case[2], case[1]), function() assert.equal(case[2], chunk.lift(case[1])) end)
  end

  it("changes no meaning of a chunk but where its names live", function()
    local env = {}
    local text = "local a, b = 1, 2 local function f(n) local c = n return c + a end local d = f(b)"
    assert(load(chunk.lift(text), "=", "t", env))()
    assert.same({ 1, 2, 3 }, { env.a, env.b, env.d })
    assert.is_nil(env.c)
  end)
end)

describe("chunk.compile", function()
  local function code_of(text) return (select(3, chunk.compile(text, {}))) end

  it("knows what is whole, what goes on, and what is wrong", function()
    for _, text in ipairs({ "1", "=1", "x = 1", "local x", "f()", "for i = 1, 2 do end" }) do
      assert.is_function((chunk.compile(text, {})), text)
    end
    for _, text in ipairs({ "for i = 1, 2 do", "f(", "x = ", "{", "function f()", "s = [[a", "if x then" }) do
      assert.equal("EAGAIN", code_of(text), text)
    end
    for _, text in ipairs({ "x y", ")", "= =", "end", "1 = 2", "'a" }) do
      assert.equal("EINVAL", code_of(text), text)
    end
  end)

  it("takes no bytecode", function()
    assert.equal("EINVAL", code_of(string.dump(function() end)))
  end)
end)

describe("a session", function()
  it("prints expressions, bare and with =", function()
    local it = new_session()
    assert.equal("2\n", it.type("1 + 1"))
    assert.equal("2\n", it.type("=1 + 1"))
    assert.equal("1\n2\n", it.type("1, 2"))
    assert.equal("nil\n", it.type("nil"))
    assert.equal("", it.type("x = 1"))
  end)

  it("keeps locals and globals from line to line", function()
    local it = new_session()
    it.type("local x = 20", "y = 22", "local function add(a, b) return a + b end")
    assert.equal("42\n", it.type("add(x, y)"))
  end)

  it("takes several lines as one when they need to be", function()
    local it = new_session()
    assert.equal("", it.type("for i = 1, 2 do"))
    assert.is_false(it.is_whole)
    assert.equal("1\n2\n", it.type("print(i)", "end"))
    it.type("for i = 1, 2 do")
    it.session:abandon()
    assert.equal("7\n", it.type("7"))
  end)

  it("shows Services, pools and one Service", function()
    local it = new_session()
    assert.matches("NAME +ACTION +ADDRESSES.*shop/web +assign +192.168.0.200", it.type("services"))
    assert.matches("shop/db.*shop/web", it.type("services.shop"))
    assert.not_matches("wiki", it.text)
    assert.equal("assign\n", it.type("services.shop.web.action"))
    assert.equal("assign\n", it.type('services["shop/web"].action'))
    assert.equal("nil\n", it.type("services.shop.nobody"))
    assert.equal("3\n2\n", it.type("#services, #services.shop"))
    assert.equal("1\t2\n", it.type("print(pools.global.used, pools.global.size)"))
    assert.equal("db\nweb\n", it.type("for name in pairs(services.shop) do print(name) end"))
    assert.equal("0\n", it.type("n = 0 for _ in ipairs(services) do n = n + 1 if n > 9 then break end end print(n)"))
    assert.equal("nil\n", it.type("services[1]"))
  end)

  it("shows more rows than a page has, when it is asked to", function()
    local objects = {}
    for i = 1, 120 do objects[i] = service("shop", ("web%03d"):format(i)) end
    local it = session_on(objects)
    assert.matches("shop/web040[^\n]*\n… and 80 more\n$", it.type("services"))
    assert.matches("shop/web100[^\n]*\n… and 20 more\n$", it.type("show(services, 100)"))
    assert.matches("shop/web120[^\n]*\n$", it.type("show(services, 200)"))
    assert.matches("shop/web120[^\n]*\n$", it.type("show(services.shop)"))
    assert.matches("shop/web001[^\n]*\n… and 119 more\n$", it.type("show(services, 0)"))
  end)

  it("prints all lines of a text", function()
    local it = new_session()
    assert.equal("a\nb\tc\\x1b\n", it.type('print("a\\nb", "c\\27")'))
    assert.equal("a\tb\n\n", it.type('"a\\tb\\n"'))
  end)

  it("changes nothing", function()
    local it = new_session()
    assert.matches("read only", it.type("services.x = 1"))
    assert.is_false(it.is_well)
    assert.matches("asks a running daemon", it.type('announce("192.168.0.9")'))
    it.type("services = nil")
    assert.matches("shop/web", it.type("services"))
  end)

  it("reaches nothing of the machine", function()
    local it = new_session()
    for _, name in ipairs({ "io", "os", "package", "debug", "require", "load", "dofile", "loadfile", "collectgarbage",
      "coroutine" }) do
      assert.equal("nil\n", it.type(name), name)
    end
    assert.matches("__gc", it.type("setmetatable({}, { __gc = print })"))
  end)

  it("plans a Service that is not there", function()
    local it = new_session()
    assert.equal("192.168.0.201\n", it.type('plan{namespace = "shop"}.addresses[1]'))
    assert.equal("192.168.0.77\n", it.type('plan{ip = "192.168.0.77"}.addresses[1]'))
    assert.matches("shop/web +assign", it.type("plan()"))
    assert.matches("a table expected", it.type("plan(1)"))
  end)

  it("explains as moonlb explain does, by the policy that was loaded", function()
    local it = new_session()
    assert.matches("^shop/web: 192%.168%.0%.200 would be given to it.*\nRULE +RESULT", it.type('explain("shop/web")'))
    assert.matches("^nix/da: there is no Service nix/da", it.type('explain("nix/da")'))
    assert.equal("would-be-given\n", it.type('explain("shop/web").diagnosis'))
    assert.matches("true", it.type('e = explain("shop/web")', 'e.decision = 5', 'type(e) == "table"'))
    assert.matches("decision +5", it.type("e"))	-- no page any more, but no error
    it.type(":load policies/sticky.lua")
    assert.equal("sticky\n", it.type('explain("shop/web").policy'))
  end)

  it("has the whole object of a Service", function()
    local it = new_session()
    assert.equal("5432\n", it.type("services.shop.db.spec.ports[1].port"))
    assert.equal("db\n", it.type("services.shop.db.metadata.name"))
    assert.equal("nil\n", it.type("services.shop.nothing"))
  end)

  it("says an error with the lines of the input, and goes on", function()
    local it = new_session()
    it.type("function f() error('on purpose') end")
    local text = it.type("f()")
    assert.matches("input:1: on purpose\nstack traceback:\n%s+input:1: in function", text)
    assert.not_matches("lua/moonlb", text)
    assert.matches("error object is a table", it.type("error({})"))
    assert.matches("input:1: \\x1b%[2J\\u{9b}\nstack", it.type('error("\\27[2J\\u{9b}")'))
    assert.equal("1\n", it.type("1"))
  end)

  it("cuts a loop that does not end, whatever is around it", function()
    local it = new_session({ seconds = 0.2 })
    for _, text in ipairs({ "while true do end", "while true do pcall(function() while true do end end) end",
      "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) while true do pcall(function() "
        .. "return t[1] end) end", "repeat local ok = pcall(error) until false" }) do
      assert.matches("processor time", it.type(text), text)
      assert.is_false(it.is_well)
    end
    assert.equal("1\n", it.type("1"))
  end)

  it("cuts what loops in C", function()
    local it = new_session({ seconds = 0.2 })
    local CASES = {
      ['("a"):rep(50000):find((".-"):rep(30) .. "b")'] = "takes too long",
      ['string.find(("a"):rep(50000), (".-"):rep(30) .. "b")'] = "takes too long",
      ['("a"):rep(50000):match((".-"):rep(30) .. "b")'] = "takes too long",
      ['("a"):rep(50000):gsub((".-"):rep(30) .. "b", "")'] = "takes too long",
      ['for x in ("a"):rep(50000):gmatch((".-"):rep(30) .. "b") do end'] = "takes too long",
      ["while true do pcall(string.find, ('a'):rep(5000), ('.-'):rep(3) .. 'b') end"] = "processor time",
      ['#(""):rep(1e18)'] = "^0\n", ['#string.rep("", 1 << 60, "")'] = "^0\n",
      ['("ab"):rep(1 << 30)'] = "more than 16 MiB", ['("ab"):rep(1e18)'] = "more than 16 MiB",
      ['table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)'] = "metatable of its own",
      ['table.remove(setmetatable({}, { __len = function() return 1 << 60 end }), 1)'] = "metatable of its own",
    }
    for text, says in pairs(CASES) do
      local began = os.clock()
      local printed = it.type(text)
      assert.truthy(printed:find(says) or says == "takes too long" and printed:find("processor time"), text .. printed)
      assert.is_true(os.clock() - began < 3, text)
    end
    assert.equal("aXc\t1\nbc\n", it.type('print(("abc"):gsub("b", "X")) print(("abc"):match("b(.*)", 1) and "bc")'))
    assert.equal("ab, ab\n1,2,3\n", it.type('print(("ab"):rep(2, ", ")) local t = {3, 1, 2} table.sort(t) '
      .. 'print(table.concat(t, ","))'))
    assert.matches("bad argument", it.type('("a"):rep("x")'))
    assert.equal("192.168.0.200\n", it.type('table.concat(services.shop.web.addresses, " ")'))
  end)

  it("gives the strings' methods back, and their metatable to nobody", function()
    local it = new_session()
    it.type("error('x')", "while true do local x = ('a'):rep(3) break end")
    assert.equal(string, debug.getmetatable("").__index)
    assert.equal("string\n", it.type('type(getmetatable(""))'))
  end)

  it("cuts what takes too much memory", function()
    local it = new_session({ megabytes = 16 })
    assert.matches("more than 16 MiB", it.type("t = {} for i = 1, 1e9 do t[i] = {} end"))
    it.type("t = nil")
    assert.equal("1\n", it.type("1"))
  end)

  it("explains every name with an example that works as it is, or says what it needs", function()
    local it = new_session()
    it.session.names.watch = function() end	-- takes its time
    local list = it.type("help")
    for _, entry in ipairs(help.ENTRIES) do
      assert.truthy(list:find(entry[1], 1, true), entry[1])
      assert.truthy(it.session.names[entry[1]], entry[1])
      local text = it.type("help " .. entry[1])
      assert.matches("example: ", text)
      local example = text:match("example: (.-)\n")
      local printed = it.type(example)
      assert.truthy(it.is_well or printed:find("asks a running daemon: this session is on files", 1, true), example)
      assert.is_nil(printed:find("nil", 1, true), example .. "\n" .. printed)
    end
    assert.matches("no such name", it.type("help nobody"))
    assert.matches("no such command", it.type(":nonsense"))
  end)

  it("swaps a policy in, and out again", function()
    local it = new_session()
    local folder = temporary.folder("moonlb-repl")
    local path = folder .. "/team.lua"
    local file = assert(io.open(path, "w"))
    file:write('return { api = 1, name = "team", rules = { function() return refuse("not today") end } }')
    file:close()
    assert.equal("policy team decides in this session\nit has no tests\n", it.type(":load " .. path))
    assert.matches("team +true +0 +" .. path:gsub("%-", "%%-") .. " +decides in this session", it.type("policy"))
    assert.equal("team\n2\n", it.type("policy.team.name, #policy"))
    assert.same({ "eam", "" }, { complete.at(it.session, "policy.t") })
    assert.matches("pending.*not today", it.type("services.shop.web"))
    assert.equal("pending\n", it.type('plan{namespace = "shop"}.action'))
    it.type(":unload")
    assert.equal("assign\n", it.type("services.shop.web.action"))
    assert.matches("No such file", it.type(":load " .. folder .. "/absent.lua"))
    assert(io.open(path, "w")):write("return {"):close()
    assert.matches("team.lua:1", it.type(":load " .. path))
    assert.equal("assign\n", it.type("services.shop.web.action"))
    temporary.remove(folder)
  end)

  -- `fn(it, load)`: `load(text)` writes a policy, has it loaded, and returns what is printed.
  local function with_policies(fn)
    local folder = temporary.folder("moonlb-repl")
    local it = new_session()
    local ok, err = pcall(fn, it, function(text, name)
      local path = ("%s/%s.lua"):format(folder, name or "team")
      assert(io.open(path, "w")):write(text):close()
      return it.type(":load " .. path)
    end)
    temporary.remove(folder)
    if not ok then error(err, 0) end
  end

  local REFUSES = 'return { api = 1, name = "team", rules = { function() return refuse("not today") end } }'

  it("stays with its policy when another cannot be loaded, and says so", function()
    with_policies(function(it, load)
      load(REFUSES)
      assert.matches("bad.lua:1.*nothing is changed: policy team still decides", load("return {", "bad"))
      assert.is_false(it.is_well)
      assert.equal("pending\n", it.type('plan{namespace = "shop"}.action'))
      it.type(":unload")
      assert.matches("nothing is changed: the policies of the ConfigMap still decide\n", load("return {", "bad"))
    end)
  end)

  it("says that a policy fails, and where", function()
    with_policies(function(it, load)
      local printed = load('return { api = 1, name = "bad", rules = { function(s, c) error("oops") end } }', "bad")
      assert.matches("warning: it fails for 3 Services; %S+: policy bad failed.*bad.lua:1: oops", printed)
      assert.matches("bad failed in rule %S+, the stock policy decided.*oops",
        it.type('plan{namespace = "shop"}.warning'))
      assert.equal("error\n", it.type('plan{namespace = "shop"}.failure.trace[1].result'))
      assert.matches("oops", it.type("services.shop.web.failure.reason"))
      assert.matches("bad failed.*oops", it.type("plan()[1].warning"))
      assert.matches("WARNING", it.type("services"))
      assert.equal("3\n", it.type("policy.bad.failures"))
    end)
  end)

  it("runs a policy's own tests", function()
    with_policies(function(_, load)
      local text = 'return { api = 1, name = "t", rules = { function() return refuse("no") end }, tests = {'
        .. '{ name = "first", expect = { action = "pending" } }, { name = "second", expect = { action = "%s" } } } }'
      assert.matches("its 2 tests pass\n", load(text:format("pending")))
      assert.matches("1 of its 2 tests fail:\n  second: action is pending, expected assign",
        load(text:format("assign")))
    end)
  end)

  it("says that a policy which only the daemon has is not asked", function()
    local it = new_session()
    local ask = it.session.source.ask
    it.session.source.ask = function(self, request)
      local result, message, code = ask(self, request)
      if request.op ~= "basis" then return result, message, code end
      return { configmap = { data = { policy = "team", ["cidr-global"] = "192.168.0.200/29" } }, nodes = result.nodes,
        settings = result.settings, mounted = { "team" } }
    end
    local printed = it.type('plan{namespace = "shop"}.warning')
    assert.matches("policy team is mounted in the daemon and not asked in a session: the stock policy decided", printed)
  end)

  it("fails in a pipe for commands that fail", function()
    local it = new_session()
    for _, text in ipairs({ ":load /nonexistent", ":nope", "help nosuch" }) do
      it.type(text)
      assert.is_false(it.is_well, text)
    end
    for _, text in ipairs({ ":unload", "help", ":help", "help show" }) do
      it.type(text)
      assert.is_true(it.is_well, text)
    end
  end)
end)

describe("show.plain", function()
  local function json_of(text)
    local it = new_session()
    local ok, message = it.session:evaluate(text, "json")
    return ok and it.text:gsub("\n$", "") or message
  end

  it("keeps arrays arrays, and all that is in a table", function()
    for text, json in pairs({
      ["{1, 2, x = 3}"] = '{"1":1,"2":2,"x":3}', ["{1, 2}"] = "[1,2]", ["{1, nil, 3}"] = "[1,null,3]", ["{}"] = "{}",
      ["{[5] = 1}"] = '{"5":1}', ["{[true] = 1}"] = '{"true":1}', ["services.nix"] = "[]", ["nil"] = "null",
      ['plan{namespace = "x", ip = "bad"}.addresses'] = "[]", ["services.shop.web.addresses"] = '["192.168.0.200"]',
      ['{"\\xff", "\\u{9b}", "\\u{202e}", "ä"}'] = '["\u{FFFD}","\\u009b","\\u202e","ä"]', ["{2.0}"] = "[2]",
    }) do assert.equal(json, json_of(text), text) end
  end)

  it("says what JSON cannot", function()
    assert.matches("one key \"1\" only", json_of('{1, x = 2, ["1"] = 3}'))
    assert.matches("a function is no JSON value", json_of("{print}"))
    assert.matches("a table is no JSON key", json_of("{[{}] = 1}"))
    assert.matches("not a JSON number", json_of("0/0"))
    assert.matches("too deep", json_of("(function() local t = {} t.t = t return t end)()"))
  end)
end)

describe("show.lines", function()
  local function text_of(value, rows, width)
    return table.concat(show.lines(value, { paint = tables.painter(false), rows = rows, width = width }), "\n")
  end

  it("fits the terminal, where there is one", function()
    local long = ("ä"):rep(100)
    local value = { { name = "a", b = long, c = long, d = "short" }, { name = "b", b = "x", c = "y", d = "z" } }
    for _, it in ipairs({ value, { x = long, rows = value }, { long, long }, { [long] = long } }) do
      for width = 60, 140, 20 do
        for line in text_of(it, nil, width):gmatch("[^\n]+") do assert.is_true(utf8.len(line) <= width, line) end
      end
    end
    assert.equal("NAME  B          C           D\na     ääääääää…", text_of(value, nil, 34):match("^.-…"))
    assert.equal("NAME              SAYS\nabcdefghijklmnop  ssssss…",
      text_of({ { name = "abcdefghijklmnop", says = ("s"):rep(50) } }, nil, 25))
    assert.equal("x  " .. ("y"):rep(44) .. "… (200 bytes)", text_of({ x = ("y"):rep(200) }, nil, 60))
    assert.truthy(text_of(value):find(("ä"):rep(59) .. "…", 1, true))
  end)

  it("cuts a long text at a terminal only, with a count", function()
    local long = ("x"):rep(20000)
    assert.equal(long, text_of(long))
    assert.equal(long:sub(1, 16384) .. "\n… and 3616 more bytes", text_of(long, nil, 80))
  end)

  it("shows times as people write them", function()
    assert.equal("since  2026-11-30 09:15:02 UTC", text_of({ since = 1796030102 }))
    assert.equal("AT                       N\n2026-11-30 09:15:02 UTC  1796030102",
      text_of({ { at = 1796030102.7, n = 1796030102 } }))
    assert.matches("{expires=2026%-11%-30 09:15:02 UTC}", text_of({ { { expires = 1796030102 } } }))
    assert.equal("since  12", text_of({ since = 12 }))
    assert.equal(1796030102, show.plain({ since = 1796030102 }).since)
  end)

  it("aligns records, and counts what it leaves out", function()
    assert.equal("NAME  AGE\na     1\nbcd   22", text_of({ { name = "a", age = 1 }, { name = "bcd", age = 22 } }))
    local rows = {}
    for i = 1, 50 do rows[i] = { name = "n" .. i } end
    assert.matches("n10\n… and 40 more$", text_of(rows, 10))
    assert.equal("a   1\nbc", text_of({ a = 1, bc = {} }))
    assert.matches("… 4 more", text_of({ list = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 } }))
  end)

  it("lets no text steer the terminal", function()
    assert.not_matches("[\27\7\r]", text_of("a\27[2Jb\7\rc"))
    assert.not_matches("[\27\7\r]", text_of({ name = "\27]0;x\7", ["\27"] = 1 }))
    assert.not_matches("[\27\7\r]", text_of({ { name = "\27]0;x\7" } }))
    local evil = "a\u{9b}2J\u{202e}b\u{2066}c\xff\127"
    local safe = "a\\u{9b}2J\\u{202e}b\\u{2066}c\\xff\\x7f"
    for _, value in ipairs({ evil, { x = evil }, { { name = evil } }, { [evil] = 1 }, { x = { evil } } }) do
      assert.truthy(text_of(value):find(safe, 1, true), text_of(value))
    end
  end)

  it("cuts texts whatever their bytes are", function()
    assert.matches("^x +\\x80\\x80", text_of({ x = ("\x80"):rep(300) }))
    assert.matches("^{\"ää.*ä…\" %(800 bytes%)}$", text_of({ { ("ä"):rep(400) } }))
  end)

  it("ends where a value is in itself, and runs nothing of it", function()
    local value = setmetatable({}, { __index = error, __pairs = error, __len = error, __tostring = error })
    rawset(value, "self", value)
    assert.matches("self", text_of(value))
    assert.is_true(#text_of(value) < 1000)
  end)
end)

describe("complete.at", function()
  local function at(before)
    local it = new_session()
    it.type("mine = { alpha = 1, album = 2 }")
    return complete.at(it.session, before)
  end

  it("completes names of the session, keywords, and the user's own", function()
    assert.same({ "vices", "" }, { at("ser") })
    assert.same({ "e", "" }, { at("x = min") })
    assert.same({ "nction", "" }, { at("fu") })
    assert.same({ "", "" }, { at("zzz") })
    assert.matches("plan  policy  pools", (select(2, at("p"))), 1, true)
  end)

  it("completes fields of live objects, namespaces and Services", function()
    assert.same({ "op", "" }, { at("services.sh") })
    assert.same({ "eb", "" }, { at("services.shop.w") })
    assert.same({ "", "db  web" }, { at("services.shop.") })
    assert.same({ "", "action  addresses" }, { at("services.shop.web.a") })
    assert.same({ "tion", "" }, { at("services.shop.web.ac") })
    assert.same({ "ha", "" }, { at("mine.alp") })
    assert.same({ "", "album  alpha" }, { at("mine.al") })
  end)

  it("completes behind namespaces and Services whose names are no names of Lua", function()
    local function with_hyphens(before)
      local it = session_on({ service("my-team", "web-shop"), service("my-team", "api") })
      return complete.at(it.session, before)
    end
    assert.same({ 'y-team"]', "" }, { with_hyphens('services["m') })
    assert.same({ 'b-shop"]', "" }, { with_hyphens('services["my-team"]["we') })
    assert.same({ "", '["web-shop"]  api' }, { with_hyphens('services["my-team"].') })
    assert.same({ "", '["web-shop"]  api' }, { with_hyphens('print("a" .. "b", services["my-team"].') })
    assert.same({ "pi", "" }, { with_hyphens('services["my-team"].a') })
    assert.same({ "tion", "" }, { with_hyphens('services["my-team"]["web-shop"].ac') })
    assert.same({ 'op"]', "" }, { with_hyphens('("x").."y" == services["my-team"]["web-sh') })
    assert.same({ "tion", "" }, { with_hyphens('services["my-team/web-shop"].ac') })
  end)

  it("completes within quotes", function()
    assert.same({ 'eb"]', "" }, { at('services["shop/w') })
    assert.same({ "eb", "" }, { (at('explain("shop/w')):sub(1, 2), "" })
    assert.same({ "op/", "" }, { at('explain("sh') })
  end)

  it("completes commands and help", function()
    assert.same({ "oad ", "" }, { at(":l") })
    assert.same({ "bours", "" }, { at("help neigh") })
  end)

  it("calls nothing", function()
    local it = new_session()
    it.type("called = 0", "trap = setmetatable({}, { __index = function() called = called + 1 end })",
      "function bomb() called = called + 1 end")
    complete.at(it.session, "trap.x.")
    complete.at(it.session, "bomb().")
    complete.at(it.session, "bomb.")
    assert.equal("0\n", it.type("called"))
  end)
end)
