--- moonlb.control.server and .client: the socket on which people ask the daemon.
local async = require("moonlb.async")
local client = require("moonlb.control.client")
local loop = require("spec.support.loop")
local server = require("moonlb.control.server")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local OPERATIONS = {
  echo = function(request, reply) reply({ said = request.word }) end,
  wait = function(_, reply)
    async.sleep(0.05)
    reply("waited")
  end,
  fail = function() error("on purpose") end,
  refuse = function(_, reply) reply(nil, "no such thing", "ENOENT") end,
  nothing = function(_, reply) reply(nil) end,
  large = function(_, reply) reply(("x"):rep(5000)) end,
  odd = function(_, reply) reply(print) end,
  who = function(_, reply, connection) reply({ uid = connection.uid, pid = connection.pid }) end,
}

-- A raw connection: what it sends is up to the test; `text` is what came back.
local function raw(path)
  local pipe, self = uv.new_pipe(false), { text = "" }
  assert(async.await(function(resume) pipe:connect(path, function(err) resume(err or "ok") end) end) == "ok")
  pipe:read_start(function(err, data)
    if err or not data then self.is_closed = true else self.text = self.text .. data end
  end)
  function self.send(text) pipe:write(text) end
  function self.close() if not pipe:is_closing() then pipe:close() end end
  self.pipe = pipe
  return self
end

-- Run `fn(path, server)` with a server on a socket of its own.
local function with_server(limits, fn)
  return loop.test(function()
    local folder = temporary.folder("moonlb-control")
    local path = folder .. "/control.sock"
    local it = assert(server.listen({ path = path, operations = OPERATIONS, limits = limits }))
    local ok, err = xpcall(fn, debug.traceback, path, it)
    it:close()
    loop.until_true(function() return not uv.fs_stat(path) end, 5, "the socket's file gone")
    temporary.remove(folder)
    if not ok then error(err, 0) end
  end)
end

describe("control.server.listen", function()
  it("answers a line of JSON with a line of JSON", with_server(nil, function(path)
    assert.same({ said = "ä\n" }, (client.call(path, { op = "echo", word = "ä\n" })))
  end))

  it("answers several requests of a connection in their order, whole or in pieces", with_server(nil, function(path)
    local it = raw(path)
    it.send('{"op":"wait"}\n{"op":"echo","word":1}\n{"op":"ec')
    loop.until_true(function() return it.text:find('"said":1', 1, true) end, 5, "the second answer")
    it.send('ho","word":2}\n')
    loop.until_true(function() return it.text:find('"said":2', 1, true) end, 5, "the third answer")
    assert.equal('{"result":"waited"}\n{"result":{"said":1}}\n{"result":{"said":2}}\n', it.text)
    it.close()
  end))

  it("is for its owner alone: mode 0600, and the kernel says who asks", with_server(nil, function(path)
    assert.equal(tonumber("600", 8), uv.fs_stat(path).mode & 511)
    local who = client.call(path, { op = "who" })
    assert.equal(uv.getuid(), who.uid)
    assert.equal(uv.os_getpid(), who.pid)
  end))

  it("says what is wrong with a request, and goes on", with_server(nil, function(path)
    local session = assert(client.connect(path))
    local function code_of(op) return (select(3, session:call({ op = op }))) end
    assert.equal("ENOSYS", code_of("unheard-of"))
    assert.equal("ENOENT", code_of("refuse"))
    assert.equal("EFAULT", code_of("fail"))
    assert.equal("EPROTO", code_of("odd"))
    assert.equal(require("cjson").null, session:call({ op = "nothing" }))
    assert.same({ said = "still" }, (session:call({ op = "echo", word = "still" })))
    session:close()
  end))

  it("says that an answer is too long instead of sending it", with_server({ result = 4000 }, function(path)
    local result, message, code = client.call(path, { op = "large" })
    assert.is_nil(result)
    assert.equal("EMSGSIZE", code)
    assert.matches("4000 at most", message)
  end))

  it("cuts who sends what is no request", with_server(nil, function(path, it)
    for _, text in ipairs({ "GET / HTTP/1.1\r\n\r\n", "\n", "[]\n", '{"op":7}\n', "\0\255\n",
      ("["):rep(60000) .. "\n" }) do
      local connection = raw(path)
      connection.send(text)
      loop.until_true(function() return connection.is_closed end, 5, "cut")
      assert.matches("EBADMSG", connection.text)
      connection.close()
    end
    loop.until_true(function() return it.count == 0 end, 5, "no connection left")
  end))

  it("cuts a line that does not end, after its limit, whatever comes", with_server({ line = 1000 }, function(path, it)
    local connection = raw(path)
    local block = ("x"):rep(1 << 20)
    for _ = 1, 16 do connection.send(block) end
    loop.until_true(function() return connection.is_closed end, 5, "cut")
    connection.close()
    loop.until_true(function() return it.count == 0 end, 5, "no connection left")
    assert.same({ said = 1 }, (client.call(path, { op = "echo", word = 1 })))
  end))

  it("cuts who says nothing, and who begins and does not end", with_server({ idle = 0.05, line_time = 0.1 }, function(
    path, it)
    local silent, slow = raw(path), raw(path)
    slow.send('{"op":')
    loop.until_true(function() return silent.is_closed and slow.is_closed end, 5, "cut")
    assert.equal("", silent.text .. slow.text)
    assert.equal(0, it.count)
    silent.close()
    slow.close()
  end))

  it("forgets who vanishes while it is answered", with_server({ answer_time = 1 }, function(path, it)
    local connection = raw(path)
    connection.send('{"op":"wait"}\n')
    loop.until_true(function() return it.count == 1 end, 5, "connected")
    connection.close()
    loop.until_true(function() return it.count == 0 end, 5, "forgotten")
  end))

  it("does not answer faster than it is read", with_server({ answer_time = 0.2 }, function(path, it)
    local connection = raw(path)
    connection.pipe:read_stop()
    for _ = 1, 400 do connection.send('{"op":"large"}\n') end
    loop.until_true(function() return it.count == 0 end, 5, "cut for not reading")
    connection.close()
  end))

  it("tells one more than it takes that it is full", with_server({ connections = 2 }, function(path, it)
    local first, second = raw(path), raw(path)
    loop.until_true(function() return it.count == 2 end, 5, "two connected")
    local third = raw(path)
    loop.until_true(function() return third.is_closed end, 5, "the third closed")
    assert.matches("EBUSY", third.text)
    assert.equal(2, it.count)
    first.close()
    loop.until_true(function() return it.count == 1 end, 5, "room again")
    assert.equal("waited", (client.call(path, { op = "wait" })))
    second.close()
    third.close()
  end))

  it("keeps its bound when 1,000 come at once, and serves afterwards", with_server({ connections = 64 }, function(
    path, it)
    local pipes, ended, most = {}, 0, 0
    for i = 1, 1000 do
      pipes[i] = uv.new_pipe(false)
      pipes[i]:connect(path, function(err)
        most = math.max(most, it.count)
        if err then ended = ended + 1 return end
        pipes[i]:read_start(function(_, data) if not data then ended = ended + 1 end end)
      end)
    end
    loop.until_true(function()
      most = math.max(most, it.count)
      return ended >= 1000 - 64
    end, 20, "all but 64 sent away")
    assert.equal(64, most)
    for _, pipe in ipairs(pipes) do pipe:close() end
    loop.until_true(function() return it.count == 0 end, 5, "all gone")
    assert.same({ said = 1 }, (client.call(path, { op = "echo", word = 1 })))
  end))

  it("refuses a user neither root nor its own, even where the file lets it in", with_server(nil, function(path)
    if uv.getuid() ~= 0 then return pending("only root can be somebody else") end
    assert(uv.fs_chmod(path:match("^(.*)/"), tonumber("755", 8)))
    assert(uv.fs_chmod(path, tonumber("666", 8)))
    local output, text, is_ended = uv.new_pipe(false), "", false
    local input = uv.new_pipe(false)
    local arguments = { "-t", "5", "-", "UNIX-CONNECT:" .. path }
    local child = assert(uv.spawn("socat", { args = arguments, uid = 65534, gid = 65534,
      stdio = { input, output } }, function() is_ended = true end))
    output:read_start(function(_, data) text = text .. (data or "") end)
    input:write('{"op":"echo","word":1}\n')
    loop.until_true(function() return is_ended or text ~= "" end, 10, "the answer")
    input:close()
    loop.until_true(function() return is_ended end, 10, "socat's end")
    output:close()
    child:close()
    assert.matches("EACCES", text)
  end))

  it("takes the place of a socket that nobody answers, and of nothing else", loop.test(function()
    local folder = temporary.folder("moonlb-control")
    local path = folder .. "/control.sock"
    local stale = uv.new_pipe(false)
    assert(stale:bind(path))
    assert(uv.fs_rename(path, path .. ".old")) -- closing unlinks the name that was bound
    stale:close()
    assert(uv.fs_rename(path .. ".old", path))
    local first = assert(server.listen({ path = path, operations = OPERATIONS }))
    assert.equal("EADDRINUSE", (select(3, server.listen({ path = path, operations = OPERATIONS }))))
    assert.same({ said = 1 }, (client.call(path, { op = "echo", word = 1 })))
    first:close()
    loop.until_true(function() return not uv.fs_stat(path) end, 5, "the file gone")
    assert(io.open(path, "w")):close()
    assert.equal("EEXIST", (select(3, server.listen({ path = path, operations = OPERATIONS }))))
    assert.equal("ENAMETOOLONG", (select(3, server.listen({ path = "/" .. ("x"):rep(200), operations = OPERATIONS }))))
    temporary.remove(folder)
  end))
end)

describe("control.client.call", function()
  it("says that no daemon runs", function()
    local _, message, code = client.call("/nonexistent/control.sock", { op = "echo" })
    assert.equal("ENOENT", code)
    assert.matches("no moonlb runs here", message)
  end)

  it("gives up on an answer that does not come", with_server(nil, function(path)
    local session = assert(client.connect(path))
    assert.equal("ETIMEDOUT", (select(3, session:call({ op = "wait" }, 0.01))))
    assert.equal("ECONNRESET", (select(3, session:call({ op = "wait" }))))
  end))
end)

describe("control protocol, fuzzed", function()
  -- Pieces of requests in any order; the seed of a failure is in its message.
  local PIECES = { "{", "}", '"op"', ":", '"echo"', '"wait"', ",", "\n", "\0", "[", "]", "null", "1e999", "-",
    '"\\u0000"',
    '{"op":"echo"}', '{"op":"fail"}\n', '{"op":"odd"}\n', ("9"):rep(500), "\255\254" }

  it("neither stops the server nor leaves a connection behind", with_server({ line = 2000 }, function(path, it)
    for seed = 1, 200 do
      math.randomseed(seed)
      local connection, parts = raw(path), {}
      for i = 1, math.random(1, 60) do parts[i] = PIECES[math.random(#PIECES)] end
      connection.send(table.concat(parts))
      if math.random(2) == 1 then async.sleep(0) end
      connection.close()
    end
    loop.until_true(function() return it.count == 0 end, 10, "no connection left")
    assert.same({ said = "alive" }, (client.call(path, { op = "echo", word = "alive" })))
  end))
end)
