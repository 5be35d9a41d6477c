local core = require("moonlb.core.policy_worker")
local loop = require("spec.support.loop")
local uv = require("luv")

local LIE = 900000000
local IS_SANITIZED = uv.exepath():find("sanitize", 1, true) ~= nil

local function pack(value)
  return assert(core.pack(value))
end

-- Start a worker and send it one message. Returns what came of it, `{answer=}` or `{code=, message=}`; and the worker.
local function ask(options, timeout)
  local result = {}
  options.on_answer = function(kind) result.answer = kind end
  options.on_end = function(err) result.code, result.message = err.code, err.message end
  local worker = assert(core.start(options))
  local ok, message = worker:send("?", 7, { pack(true) }, timeout or 20)
  assert(ok, message)
  loop.until_true(function() return result.answer or result.code end, 30, "answer or end")
  return result, worker
end

local function lie(number, timeout)
  local result, worker = ask({ steps = LIE + number }, timeout)
  return result, worker
end

-- The end of a worker that first gave an answer.
local function ending(number, timeout)
  local result, worker = lie(number, timeout)
  loop.until_true(function() return result.code end, 10, "end")
  worker:close()
  return result
end

describe("the host's end of a worker", function()
  local function ends(what, number, code, message, timeout)
    it("kills one that sends " .. what, loop.test(function()
      local result = ending(number, timeout)
      assert.equal(code, result.code)
      assert.matches(message, result.message)
    end, 60))
  end

  ends("bytes that are no message", 1, "EBADMSG", "no message")
  ends("a flood that nobody asked for", 2, "EBADMSG", "nobody asked for")
  ends("more than a message may hold", 3, "EBADMSG", "no message")
  ends("its exit", 4, "EKILLED", "exited with status 3")
  ends("nothing, when its time is over", 5, "ETIMEDOUT", "no answer in time", 0.3)
  ends("two answers", 6, "EBADMSG", "nobody asked for")
  ends("a message cut short", 8, "EBADMSG", "no message")
  ends("the end of its socket and lives on", 9, "EKILLED", "killed by signal 9")
  ends("a value that is nested too deeply", 10, "EBADMSG", "no message")
  ends("a table that claims four billion items", 11, "EBADMSG", "no message")
  ends("last words, and lives on", 14, "ENOEXEC", "^could not start: no luck%?$", 60)
  ends("a flood of last words", 15, "ENOEXEC", "^could not start: no luck%?$", 60)
  ends("a crash", 12, "EKILLED", IS_SANITIZED and "exited" or "signal 11")

  it("hands over the id, so that an answer to another question is seen", loop.test(function()
    local id
    local worker = assert(core.start({ steps = LIE + 7, on_answer = function(_, got) id = got end, on_end = error }))
    assert(worker:send("?", 7, { pack(true) }, 20))
    loop.until_true(function() return id end)
    assert.equal(6, id)
    worker:close()
  end))

  it("refuses a second question while one is out, one that is too long, and one after close", loop.test(function()
    local worker = assert(core.start({ steps = LIE + 5, on_answer = error, on_end = error }))
    local _, _, code = worker:send("?", 1, { pack(("x"):rep(worker:most() - 10)) }, 1)
    assert.equal("EMSGSIZE", code)
    assert(worker:send("?", 1, { pack(true) }, 20))
    _, _, code = worker:send("?", 2, { pack(true) }, 20)
    assert.equal("EBUSY", code)
    worker:close()
    assert.error_matches(function() worker:send("?", 3, {}, 1) end, "closed")
    worker:close()
  end))

  it("takes no message whose parts are no packed values", loop.test(function()
    local worker <close> = assert(core.start({ on_answer = error, on_end = error }))
    assert.error_matches(function() worker:send("?", 1, { "x" }, 1) end, "no packed value")
    assert.error_matches(function() worker:send("?", 1, { {} }, 1) end, "packed values")
  end))

  it("kills one that is stopped, when its time is over", loop.test(function()
    local ended
    local worker = assert(core.start({ on_answer = error, on_end = function(err) ended = err end }))
    uv.kill(worker:pid(), "sigstop")
    assert(worker:send("?", 1, { pack(true) }, 0.3))
    loop.until_true(function() return ended end)
    assert.equal("ETIMEDOUT", ended.code)
  end))

  it("says who killed it", loop.test(function()
    local ended
    local worker = assert(core.start({ on_answer = error, on_end = function(err) ended = err end }))
    uv.kill(worker:pid(), "sigkill")
    loop.until_true(function() return ended end)
    assert.equal("EKILLED", ended.code)
    assert.matches("signal 9", ended.message)
  end))

  it("leaves no process and no descriptor behind", loop.test(function()
    local function descriptors()
      local count, handle = 0, assert(uv.fs_scandir("/proc/self/fd"))
      while uv.fs_scandir_next(handle) do count = count + 1 end
      return count
    end
    ask({ steps = LIE + 4 })
    local before = descriptors()
    for _ = 1, 20 do
      local worker = assert(core.start({ on_answer = error, on_end = error }))
      local pid = worker:pid()
      worker:close()
      assert.equal("ESRCH", select(3, uv.kill(pid, 0)))
    end
    local is_over
    local timer = uv.new_timer()
    timer:start(0, 0, function() is_over = true end)
    loop.until_true(function() return is_over end)
    timer:close()
    assert.equal(before, descriptors())
  end))
end)

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

describe("the lock-in", function()
  -- A worker that has answered is locked in.
  local function locked(check)
    return loop.test(function()
      local result, worker = ask({})
      assert.equal("X", result.answer)
      check("/proc/" .. worker:pid(), worker)
      worker:close()
    end)
  end

  it("filters system calls and takes no new privileges", locked(function(proc)
    local status = read(proc .. "/status")
    assert.matches("\nSeccomp:\t2\n", status)
    assert.matches("\nNoNewPrivs:\t1\n", status)
  end))

  it("keeps other processes of the same user out", locked(function(proc)
    if uv.getuid() == 0 then return end
    assert.is_nil((io.open(proc .. "/environ")))
    assert.equal("EACCES", select(3, uv.fs_scandir(proc .. "/fd")))
  end))

  it("leaves nothing open but /dev/null and its socket", locked(function(proc)
    if uv.getuid() ~= 0 then return end	-- nobody but root may look
    local open = {}
    local handle = assert(uv.fs_scandir(proc .. "/fd"))
    for name in function() return uv.fs_scandir_next(handle) end do
      open[#open + 1] = name .. " " .. uv.fs_readlink(proc .. "/fd/" .. name):gsub("%d+", "N")
    end
    table.sort(open)
    assert.same({ "0 /dev/null", "1 /dev/null", "2 /dev/null", "3 socket:[N]" }, open)
  end))

  it("has nothing of the controller's environment", locked(function(proc)
    if uv.getuid() ~= 0 then return end
    assert.equal("GLIBC_TUNABLES=glibc.malloc.tcache_count=65535\0", read(proc .. "/environ"))
  end))

  it("limits files, processes, cores and memory", locked(function(proc)
    local limits = read(proc .. "/limits")
    assert.matches("Max core file size +0 +0 ", limits)
    assert.matches("Max file size +0 +0 ", limits)
    assert.matches("Max processes +0 +0 ", limits)
    assert.matches("Max open files +4 +4 ", limits)
    if not IS_SANITIZED then assert.matches("Max address space +%d+ +%d+ ", limits) end
  end))

  it("is killed when its parent dies, however it dies", loop.test(function()
    local out, pid = uv.new_pipe(), nil
    local child = assert(uv.spawn(uv.exepath(), { stdio = { nil, out, nil },
      args = { "-o", "spec/support/output.lua", "spec/support/orphan_child.lua" } }, function() end))
    out:read_start(function(_, data) pid = pid or data and tonumber(data:match("%d+")) end)
    loop.until_true(function() return pid end, 30, "the worker's pid")
    assert.equal(0, uv.kill(pid, 0))
    child:kill("sigkill")
    loop.until_true(function()	-- gone, or waiting for init to take note of it
      local file = io.open("/proc/" .. pid .. "/stat")
      return not file or (file:read("a") or ") Z "):find(") Z ", 1, true)
    end)
    out:close()
    child:close()
  end, 60))

  it("does not start below another parent than it was told", loop.test(function()
    local script = [[exec 3>/dev/null; exec "$0" policy-worker 1 16777216 4000000 60 100]]
    local code
    local child = uv.spawn("/bin/sh", { args = { "-c", script, uv.exepath() } }, function(status) code = status end)
    loop.until_true(function() return code end)
    child:close()
    assert.equal(71, code)
  end))

  local function forbids(what, number, is_let_through)
    it("forbids to " .. what, loop.test(function()
      local result = ending(number)
      assert.equal("EKILLED", result.code)
      local is_weak = IS_SANITIZED and is_let_through
      assert.matches(is_weak and "exited" or "a system call that is not allowed", result.message)
    end))
  end

  forbids("open a file", 20, true)
  forbids("open a socket", 21)
  forbids("run a program", 22)
  forbids("make a process", 23)
  forbids("map memory for execution", 24)
  forbids("make memory executable", 25, true)
  forbids("send signals", 26)
  forbids("trace", 27)
  forbids("write to anything but its socket", 28)
  forbids("read from anything but its socket", 29)
  forbids("change its own process", 30)
  forbids("duplicate a descriptor", 31)

  it("has no room for a gigabyte", loop.test(function()
    assert.matches(IS_SANITIZED and "status 4[01]" or "status 40", ending(32).message)
  end))

  it("is not started by hand", loop.test(function()
    local code
    local child = uv.spawn(uv.exepath(), { args = { "policy-worker" } }, function(status) code = status end)
    loop.until_true(function() return code end)
    child:close()
    assert.equal(64, code)
  end))
end)

describe("a worker's CPU timer", function()
  it("kills what nothing else stops", loop.test(function()
    local result = {}
    local worker = assert(core.start({ steps = 1 << 62, soft_ms = 60000, hard_ms = 50,
      on_answer = function(kind, _, value) result.answer, result.value = kind, value end,
      on_end = function(err) result.code, result.message = err.code, err.message end }))
    assert(worker:send("L", 1, { pack({ name = "t", file = "t.lua", text = "while true do end", memory = 1 << 24,
      stock = "return { api = 1, rules = { function() end } }", settings = {} }) }, 20))
    loop.until_true(function() return result.code end)
    assert.equal("ETIMEDOUT", result.code)
    assert.matches("too much CPU time", result.message)
  end))
end)

describe("pack and unpack", function()
  it("carry plain values", function()
    for _, value in ipairs({ true, false, 0, -1, math.maxinteger, math.mininteger, 0.5, math.huge, "", "a\0b",
      ("x"):rep(1000), {}, { 1, 2, 3 }, { a = { b = { c = "d" } } }, { [1] = "x", [3] = "y", z = false },
      { [2.5] = 1, [-1] = 2 } }) do
      assert.same(value, core.unpack(pack(value)))
      assert.equal(math.type(value), math.type(core.unpack(pack(value))))
    end
    assert.is_nil(core.unpack(pack(nil)))
  end)

  it("leave JSON nulls out", function()
    local null = require("cjson").null
    assert.same({ a = 1 }, core.unpack(pack({ a = 1, b = null })))
  end)

  it("refuse what is not plain, too deep, or too long", function()
    local cycle = {}
    cycle[1] = cycle
    assert.equal("EINVAL", select(3, core.pack(print)))
    assert.equal("EINVAL", select(3, core.pack({ [true] = 1 })))
    assert.equal("ELOOP", select(3, core.pack(cycle)))
    assert.equal("EMSGSIZE", select(3, core.pack(("x"):rep(300000))))
  end)

  it("run no metamethod", function()
    local trap = setmetatable({ a = 1 }, { __index = error, __len = error, __pairs = error })
    assert.same({ a = 1 }, core.unpack(pack(trap)))
  end)

  it("refuse every cut of a message, and what follows it", function()
    local whole = pack({ 1, "two", { three = 3.5 } })
    for length = 0, #whole - 1 do assert.equal("EBADMSG", select(3, core.unpack(whole:sub(1, length)))) end
    assert.equal("EBADMSG", select(3, core.unpack(whole .. "n")))
  end)

  it("refuse a key that no table can have", function()
    local function table_of(key) return "{\0\0\0\0\1\0\0\0" .. key .. "t" end
    assert.is_true(core.unpack(table_of("i" .. ("\0"):rep(8)))[0])
    for _, key in ipairs({ "n", "t", "{" .. ("\0"):rep(8), "d\0\0\0\0\0\0\xf8\x7f" }) do
      assert.equal("EBADMSG", select(3, core.unpack(table_of(key))))
    end
  end)
end)
