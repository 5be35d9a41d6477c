-- The repl against a running daemon, at a real terminal: tmux types, as a person would, and shows the screen.
local client = require("moonlb.control.client")
local help = require("moonlb.control.repl.help")
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local remote = require("moonlb.control.repl.remote")
local screens = require("spec.support.screen")
local sessions = require("moonlb.control.repl.session")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local MOONLB = assert(uv.fs_realpath(program.moonlb()))

-- A terminal with `moonlb repl` in it.
local function open_screen(folder, arguments, terminal)
  local it = screens.new(folder)
  it:run(("TERM=%s HOME=%s NO_COLOR=1 %s repl --state-dir %s %s"):format(terminal or "screen", folder, MOONLB, folder,
    arguments or ""))
  return it
end

-- `fn(it, screen, folder)`: a lab with a daemon, and a terminal.
local function with_screen(fn, arguments, terminal)
  return lab.test(function(it)
    local folder = temporary.folder("moonlb-repl")
    it:moonlb("node1", { "--state-dir", folder })
    loop.until_true(function() return uv.fs_stat(folder .. "/control.sock") end, 10, "the control socket")
    it:service("web")
    it:until_address("web")
    local screen = open_screen(folder, arguments, terminal)
    local ok, err = xpcall(function()
      screen:shows("moonlb>")
      fn(it, screen, folder)
    end, debug.traceback)
    screen:close()
    temporary.remove(folder)
    if not ok then error(err, 0) end
  end, { timeout = 90 })
end

describe("moonlb repl at a terminal", function()
  it("greets, prints what is typed, and leaves on Ctrl-D", with_screen(function(_, screen)
    screen:shows("on node1, read only")
    screen:type("1 + 41", "Enter")
    screen:shows("\n42\n")
    screen:type("services.demo.web.addresses[1]", "Enter")
    screen:shows("\n10.77.0.128\n")
    screen:type("", "C-d")
    screen:shows("ended with 0")
  end))

  it("keeps the lines in a file of its owner, and brings them back with the arrows", with_screen(
    function(_, screen, folder)
      screen:type("x = 'first'", "Enter")
      screen:type("y = 'second'", "Enter")
      screen:type("", "Up", "Up", "Enter")
      screen:type("x, y", "Enter")
      screen:shows("first\nsecond")
      screen:type("", "C-d")
      screen:shows("ended with 0")
      local file = folder .. "/.moonlb_history"
      assert.equal(tonumber("600", 8), uv.fs_stat(file).mode & 511)
      screen:close()
      local again = open_screen(folder)
      again:shows("moonlb>")
      again:type("", "Up", "Up")
      again:shows("moonlb> x = 'first'")
      again:close()
    end))

  it("edits within a line", with_screen(function(_, screen)
    screen:type("10 + 3", "Left", "BSpace", "BSpace", "BSpace")
    screen:type(" * ", "Enter")
    screen:shows("\n30\n")
    screen:type("'grün' .. 'x'", "C-a", "C-k")
    screen:type("'grün'", "Enter")
    screen:shows("\ngrün\n")
  end))

  it("completes names, namespaces, Services and fields", with_screen(function(_, screen)
    screen:type("ser", "Tab")
    screen:shows("moonlb> services")
    screen:type(".de", "Tab")
    screen:shows("moonlb> services.demo")
    screen:type(".w", "Tab")
    screen:shows("services.demo.web")
    screen:type(".st", "Tab", "Tab")
    screen:shows("state  status")
  end))

  it("takes several lines as one, and Ctrl-C abandons them", with_screen(function(_, screen)
    screen:type("for i = 1, 2 do", "Enter")
    screen:shows("..")
    screen:type("print('line ' .. i)", "Enter")
    screen:type("end", "Enter")
    screen:shows("line 1\nline 2")
    screen:type("function f(", "Enter")
    screen:type("", "C-c")
    screen:type("5 * 5", "Enter")
    screen:shows("\n25\n")
    screen:type("half a line", "C-c")
    screen:type("6 * 6", "Enter")
    screen:shows("\n36\n")
  end))

  it("is interrupted in a loop and in a wait, and goes on", with_screen(function(_, screen)
    screen:type("while true do end", "Enter")
    require("moonlb.async").sleep(0.5)
    screen:type("", "C-c")
    screen:shows("interrupted")
    screen:clear()
    screen:type("while true do pcall(string.find, ('a'):rep(50000), ('.-'):rep(30) .. 'b') end", "Enter")
    require("moonlb.async").sleep(0.5)
    screen:type("", "C-c")
    screen:shows("interrupted")
    screen:clear()
    screen:type("watch('#services', 600)", "Enter")
    screen:shows("600)\n1")
    screen:type("", "C-c")
    screen:shows("interrupted")
    screen:type("7 * 7", "Enter")
    screen:shows("\n49\n")
  end))

  it("ends when nobody types for the time of --idle", with_screen(function(_, screen)
    screen:type("half a line")
    screen:shows("nothing was typed for 2 s")
    screen:shows("ended with 0")
  end, "--idle 2"))

  it("goes on in a window of another size", with_screen(function(_, screen)
    screen:tmux("resize-window", "-t", "it", "-x", "60", "-y", "20")
    screen:type("'" .. ("w"):rep(70) .. "' == 'x'", "Enter")
    screen:shows("\nfalse\n")
    screen:tmux("resize-window", "-t", "it", "-x", "140", "-y", "40")
    screen:type("8 * 8", "Enter")
    screen:shows("\n64\n")
  end))

  it("works where the terminal can do nothing", with_screen(function(_, screen)
    screen:type("9 * 9", "Enter")
    screen:shows("\n81\n")
    screen:type("", "C-d")
    screen:shows("ended with 0")
  end, nil, "dumb"))

  it("finds the daemon again when it was started anew", with_screen(function(it, screen, folder)
    screen:type("#services", "Enter")
    screen:shows("\n1\n")
    local pid = client.call(folder .. "/control.sock", { op = "version" })
    assert.equal("node1", pid.node)
    for _, process in ipairs(it.nodes.running) do it:signal(process, "sigkill") end
    loop.until_true(function() -- the first may be the one that finds the connection closed
      screen:type("services", "Enter")
      require("moonlb.async").sleep(0.5)
      return screen:text():find("no moonlb answers", 1, true)
    end, 10, "no moonlb answers")
    it:moonlb("node1", { "--state-dir", folder })
    loop.until_true(function() return client.call(folder .. "/control.sock", { op = "version" }) end, 10, "the daemon")
    loop.until_true(function()
      local page = client.call(folder .. "/control.sock", { op = "list", what = "services" })
      return page and page.total == 1
    end, 10, "the Service")
    screen:type("services.demo.web.name", "Enter")
    screen:shows("\ndemo/web\n")
  end))
end)

-- A terminal turns tabs into spaces, and shows nothing of spaces at the end of a line.
local function as_shown(text)
  return (text:gsub("([^\n]*)\t", function(before) return before .. (" "):rep(8 - #before % 8) end):gsub(" +\n", "\n"))
end

-- What is typed before there is a prompt would be echoed twice.
local function prompts(screen)
  local text = screen:text()
  return select(2, text:gsub("moonlb>", "")) + select(2, text:gsub("\n     %.%.", ""))
end

describe("README.md's screen", function()
  it("is what a terminal shows when those lines are typed", loop.test(function()
    local file = assert(io.open("README.md"))
    local arguments, screen_text = file:read("a"):match("```repl\n%$ moonlb repl ([^\n]+)\n(.-)```")
    file:close()
    local folder = temporary.folder("moonlb-repl")
    local screen = open_screen(folder, arguments)
    screen:shows("moonlb>")
    for line in screen_text:gmatch("[^\n]+") do
      local typed = line:match("^moonlb> (.*)$") or line:match("^     %.%. (.*)$")
      if typed then
        local before = prompts(screen)
        screen:type(typed, "Enter")
        loop.until_true(function() return prompts(screen) > before end, 5, "a prompt after " .. typed)
      end
    end
    screen:shows(as_shown(screen_text) .. "moonlb>", true)
    screen:close()
    temporary.remove(folder)
  end, 30))
end)

describe("moonlb eval", function()
  local function eval(folder, ...)
    return program.run(MOONLB, { "eval", "--state-dir", folder, ... })
  end

  it("asks the daemon, and the LAN through it", lab.test(function(it)
    local folder = temporary.folder("moonlb-repl")
    it:moonlb("node1", { "--state-dir", folder })
    it:service("web")
    local ip = it:until_address("web")
    loop.until_true(function() return it:is_answered(ip) end, 10, "announced")
    local function value(expression, ...)
      local done = eval(folder, expression, ...)
      assert(done.code == 0, expression .. ": " .. done.stderr)
      return (done.stdout:gsub("\n$", ""))
    end
    assert.equal("demo/web", value("services.demo.web.name"))
    loop.until_true(function()
      local row = client.call(folder .. "/control.sock", { op = "get", what = "vips", key = ip })
      return row and row.state == "held"
    end, 10, "held")
    assert.equal("held", value(('vips[%q].state'):format(ip)))
    assert.matches("global", value("pools"))
    assert.equal('["10.77.0.128"]', value("services.demo.web.addresses", "-o", "json"))
    assert.equal("a stranger", value('who_has("10.77.0.250").answers[1].who'))
    assert.equal("held", value(("who_has(%q).here"):format(ip)))
    assert.equal("true", value('probe("10.77.0.99").free'))
    assert.equal("false", value('probe("10.77.0.1").free'))
    assert.equal("false", value('probe("fd77::1").free'))
    local own = it:on("node1", "ip", "-o", "-4", "address", "show", "dev", "eth0").output:match("inet ([%d.]+)")
    for taken, why in pairs({ [own] = "this node's own, on eth0",
      ["10.77.0.255"] = "broadcast address", ["10.77.0.0"] = "network address", ["224.0.0.1"] = "a multicast address",
      ["127.0.0.1"] = "a loopback address",
      ["255.255.255.255"] = "a broadcast address", ["8.8.8.8"] = "in no subnet of eth0",
      ["2001:db8::1"] = "in no subnet",
      ["10.77.0.1"] = "answers for it: a stranger", [ip] = "given to Service demo/web" }) do
      assert.matches("^false\n.*" .. why, value(('local p = probe(%q) return p.free, p.why'):format(taken)))
    end
    assert.equal("10.77.0.129", value('plan{namespace="demo", name="next"}.addresses[1]'))
    assert.equal("0", value("queue().allocator.waiting"))
    assert(it:curl(ip)) -- the node answers the client, and knows it from then on
    assert.matches("10%.77%.0%.%d+%s+eth0", value("neighbours()"))
    assert.is_nil(value("neighbours()"):find("noarp"))
    assert.equal("fast", value("config.probe.value"))
    assert.matches("default", value("policy"))
    assert.equal("(none)", value("leases"))
    assert.equal("(none)", value("mappings"))
    assert.equal("[]", value("leases", "-o", "json"))
    assert.equal("[]", value('who_has("10.77.0.99").answers', "-o", "json"))
    assert.equal("0", value("local n = 0 for _ in ipairs(services) do n = n + 1 if n > 9 then break end end return n"))
    assert.matches("demo/web: it has no ready endpoint", value([[explain("demo/web").sentence]])) -- nobody made one
    temporary.remove(folder)
  end, { timeout = 90 }))

  it("changes nothing without --write, and says who changed what with it", lab.test(function(it)
    local folder = temporary.folder("moonlb-repl")
    it:moonlb("node1", { "--state-dir", folder })
    it:service("web")
    local ip = it:until_address("web")
    loop.until_true(function() return it:is_answered(ip) end, 10, "announced")
    local refused = eval(folder, ("announce(%q)"):format(ip))
    assert.equal(1, refused.code)
    assert.matches("begin the session with %-%-write", refused.stderr)
    for _, text in ipairs({ 'release("10.77.0.128")', 'move("10.77.0.128", "node2")', "reload()" }) do
      assert.equal(1, eval(folder, text).code, text)
    end
    assert.not_matches("changed by a person", it.output.node1)
    local done = eval(folder, "--write", ("announce(%q).state"):format(ip))
    assert.equal("announcing\n", done.stdout, done.stderr)
    assert.equal(0, eval(folder, "--write", "reload()").code)
    loop.until_true(function() return it.output.node1:find("changed by a person", 1, true) end, 5, "the log line")
    assert.matches("control session may write", it.output.node1)
    assert.matches("reason=WriteSession", it.output.node1)
    assert.equal(1, eval(folder, "--write", 'announce("10.77.0.1")').code)
    temporary.remove(folder)
  end, { timeout = 90 }))

  it("moves an address to a node that takes it, gives it up, and says what became of it", lab.test(function(it)
    local folders, owner = {}, nil
    for _, name in ipairs({ "node1", "node2" }) do
      folders[name] = temporary.folder("moonlb-repl")
      assert(it.kube:create("/api/v1/nodes", { metadata = { name = name } }))
      it:moonlb(name, { "--state-dir", folders[name] })
    end
    it:service("web")
    local ip = it:until_address("web")
    local function is_held(name)
      local row = client.call(folders[name] .. "/control.sock", { op = "get", what = "vips", key = ip })
      return type(row) == "table" and (row.state == "held" or row.state == "announcing")
    end
    loop.until_true(function()
      owner = is_held("node1") and "node1" or is_held("node2") and "node2"
      return owner
    end, 15, "announced")
    require("moonlb.async").sleep(2) -- both hear each other
    local other = owner == "node1" and "node2" or "node1"
    local function move(target) return eval(folders[owner], "--write", ("move(%q, %q)"):format(ip, target)) end
    local done = move("nobody")
    assert.equal(1, done.code)
    assert.matches("not moved to nobody: no moonlb of that name is heard; those that are: node%d, node%d", done.stderr)
    done = move(other)
    assert.equal("", done.stderr)
    assert.matches("from +" .. owner .. "\nnode +" .. other .. "\nseconds +0%.%d+", done.stdout)
    loop.until_true(function() return is_held(other) and not is_held(owner) end, 10, "moved")
    owner, other = other, owner
    done = eval(folders[owner], "--write", ("release(%q)"):format(ip))
    assert.equal("", done.stderr)
    assert.matches("was_here +true", done.stdout)
    loop.until_true(function() return is_held(other) and not is_held(owner) end, 15, "taken over")
    for _, folder in pairs(folders) do temporary.remove(folder) end
  end, { timeout = 90, count = 2 }))

  it("does what the examples of its help say, as they are", lab.test(function(it)
    local folder = temporary.folder("moonlb-repl")
    it:moonlb("node1", { "--state-dir", folder })
    it:service("web-shop")
    local ip = it:until_address("web-shop")
    loop.until_true(function() return it:is_answered(ip) end, 10, "announced")
    local source = assert(remote.open(folder .. "/control.sock"))
    local said = {}
    local session = sessions.new({ source = source, has_colour = false,
      write = function(text) said[#said + 1] = text end })
    local function enter(line)
      said = {}
      local _, is_well = session:enter(line)
      return table.concat(said), is_well
    end
    for _, entry in ipairs(help.ENTRIES) do
      local example = enter("help " .. entry[1]):match("example: (.-)\n$"):gsub("30%)", "1)")
      local printed, is_well = enter(example)
      assert.truthy(is_well or printed:find("begin the session with --write", 1, true), example .. "\n" .. printed)
      assert.is_nil(printed:find("^nil"), example .. "\n" .. printed)
    end
    assert.matches("10.77.0.128", (enter('services.demo["web-shop"].addresses')))
    source:close()
    temporary.remove(folder)
  end, { timeout = 90 }))

  it("sets the level of the daemon's log until the session ends", lab.test(function(it)
    local folder = temporary.folder("moonlb-repl")
    it:moonlb("node1", { "--state-dir", folder })
    loop.until_true(function() return uv.fs_stat(folder .. "/control.sock") end, 10, "the control socket")
    local socket = folder .. "/control.sock"
    assert.matches("debug, info, warn or error expected", eval(folder, 'log("loud")').stderr)
    local session = assert(client.connect(socket))
    assert.same({ level = "error", before = "info" }, session:call({ op = "log", level = "error" }))
    local function says_info(name)
      local before = #it.output.node1
      it:service(name)
      it:until_address(name)
      return it.output.node1:find("level=info", before + 1, true) ~= nil
    end
    assert.is_false(says_info("web"))
    session:close()
    require("moonlb.async").sleep(0.5)
    assert.is_true(says_info("again"))
    temporary.remove(folder)
  end, { timeout = 90 }))

  it("says that no daemon runs", loop.test(function()
    local done = eval("/nonexistent", "1")
    assert.equal(2, done.code)
    assert.matches("no moonlb runs here", done.stderr)
  end))
end)
