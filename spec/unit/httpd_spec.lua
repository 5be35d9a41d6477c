local uv = require("luv")

local http = require("spec.support.http")
local httpd = require("moonlb.core.httpd")
local loop = require("spec.support.loop")

-- A server with this handler for one test; the garbage collector runs in each callback.
local function with_server(options, handler, body)
  return loop.test(function()
    local server = assert(httpd.listen(options, function(request, response)
      collectgarbage()
      handler(request, response)
      collectgarbage()
    end))
    local url = ("http://127.0.0.1:%d"):format(server:port())
    local ok, err = pcall(body, url, server)
    server:close()
    if not ok then error(err, 0) end
  end)
end

local function answer(response, text) response:send(200, { ["Content-Type"] = "text/plain" }, text) end

describe("httpd request", function()
  local seen
  local function keep(request, response)
    seen = request
    answer(response, "ok")
  end

  it("hands over method, raw path and query, and the peer's address", with_server({}, keep, function(url)
    assert.equal("ok", http.curl(url .. "/a%20b/%2Fc?x=1%26&y"):wait().out)
    assert.equal("GET", seen.method)
    assert.equal("/a%20b/%2Fc", seen.path)
    assert.equal("x=1%26&y", seen.query)
    assert.equal("127.0.0.1", seen.remote)
    assert.equal("", seen.body)
  end))

  it("has no query when there is no question mark", with_server({}, keep, function(url)
    http.curl(url .. "/a"):wait()
    assert.is_nil(seen.query)
  end))

  it("lower-cases header names and joins repeated ones (RFC 9110 section 5.3)", with_server({}, keep, function(url)
    http.curl(url, "-H", "X-One: a", "-H", "x-one: b", "-H", "Accept: application/json"):wait()
    assert.equal("a, b", seen.headers["x-one"])
    assert.equal("application/json", seen.headers.accept)
  end))

  it("brings the body of PATCH, PUT and DELETE", with_server({}, keep, function(url)
    for _, method in ipairs({ "PATCH", "PUT", "DELETE", "POST" }) do
      http.curl(url, "-X", method, "--data-binary", '{"a":1}'):wait()
      assert.same({ method, '{"a":1}' }, { seen.method, seen.body })
      http.curl(url, "-X", method):wait()
      assert.same({ method, "" }, { seen.method, seen.body })
    end
  end))

  it("takes a chunked body (RFC 9112 section 7.1)", with_server({}, keep, function(url)
    http.curl(url, "-H", "Transfer-Encoding: chunked", "--data-binary", ("x"):rep(100000)):wait()
    assert.equal(100000, #seen.body)
  end))

  it("invites a body that waits for 100 Continue (RFC 9110 section 10.1.1)", with_server({}, keep, function(url)
    local curl = http.curl(url, "-v", "-H", "Expect: 100-continue", "--expect100-timeout", "15", "-d", "abc"):wait()
    assert.matches("100 Continue", curl.err)
    assert.equal("abc", seen.body)
  end))

  it("serves several requests on one connection", with_server({}, keep, function(_, server)
    local connection = http.connect(server:port())
    connection.write("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
    loop.until_true(function() return connection.text:find("ok", 1, true) end)
    connection.write("GET /2 HTTP/1.1\r\nHost: x\r\n\r\nGET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
    loop.until_true(function() return select(2, connection.text:gsub("\r\n\r\nok", "")) == 3 end)
    connection.close()
  end))
end)

describe("httpd limits", function()
  local calls = 0
  local function count(_, response)
    calls = calls + 1
    answer(response, "ok")
  end

  it("refuses an announced body beyond max_body by 413 without asking for it",
    with_server({ max_body = 1000 }, count, function(url)
    local curl = http.curl(url, "-w", "%{http_code} %{size_upload}", "-H", "Expect: 100-continue",
      "-d", ("x"):rep(1001)):wait()
    assert.matches("413 0$", curl.out)
    assert.equal(0, calls)
    assert.equal("ok", http.curl(url, "-d", ("x"):rep(1000)):wait().out)
  end))

  it("refuses a chunked body beyond max_body by 413", with_server({ max_body = 1000 }, count, function(url)
    calls = 0
    local curl = http.curl(url, "-w", "%{http_code}", "-H", "Transfer-Encoding: chunked", "-d", ("x"):rep(3000)):wait()
    assert.matches("413$", curl.out)
    assert.equal(0, calls)
  end))

  it("cuts a client whose chunked body has no end", with_server({ max_body = 1000 }, count, function(_, server)
    local connection = http.connect(server:port())
    connection.write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ = 1, 50 do connection.write("400\r\n" .. ("x"):rep(1024) .. "\r\n") end
    loop.until_true(function() return connection.is_closed end)
  end))

  it("drops garbage and lives on", with_server({ idle_timeout = 1 }, count, function(url, server)
    for _, text in ipairs({ "\0\1\2\3\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nHost x\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", "GET /" .. ("a"):rep(70000) .. " HTTP/1.1\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" }) do
      local connection = http.connect(server:port())
      connection.write(text)
      connection.shutdown()
      loop.until_true(function() return connection.is_closed end)
    end
    assert.equal("ok", http.curl(url):wait().out)
  end))

  it("closes a connection that is idle longer than idle_timeout",
    with_server({ idle_timeout = 1 }, count, function(_, server)
    local connection = http.connect(server:port())
    connection.write("GET / HTTP/1.1\r\n")
    loop.until_true(function() return connection.is_closed end)
  end))
end)

describe("response:send", function()
  it("gives status, headers and body", with_server({}, function(_, response)
    response:send(418, { ["X-A"] = "b", Warning = { "1", "2" } }, "teapot")
  end, function(url)
    local out = http.curl(url, "-i"):wait().out
    assert.matches("^HTTP/1.1 418", out)
    assert.matches("\r\nX%-A: b\r\n", out)
    assert.matches("\r\nWarning: 1\r\n", out)
    assert.matches("\r\nWarning: 2\r\n", out)
    assert.matches("\r\nContent%-Length: 6\r\n", out)
    assert.matches("\r\n\r\nteapot$", out)
  end))

  it("leaves out the body for HEAD but announces its length (RFC 9110 section 9.3.2)",
    with_server({}, function(request, response)
    answer(response, request.method)
  end, function(url)
    local curl = http.curl(url, "-I"):wait()
    assert.equal(0, curl.code)
    assert.matches("Content%-Length: 4\r\n", curl.out)
    assert.matches("\r\n\r\n$", curl.out)
  end))

  it("may come later, out of order and from a collected request", with_server({}, function(request, response)
    local timer = uv.new_timer()
    timer:start(request.path == "/slow" and 200 or 10, 0, function()
      collectgarbage()
      answer(response, request.path)
      timer:close()
    end)
  end, function(url)
    local slow, fast = http.curl(url .. "/slow"), http.curl(url .. "/fast")
    assert.equal("/fast", fast:wait().out)
    assert.equal("/slow", slow:wait().out)
  end))

  it("carries 20 MB", with_server({}, function(_, response) answer(response, ("x"):rep(20000000)) end, function(url)
    assert.equal("20000000", http.curl(url, "-o", "/dev/null", "-w", "%{size_download}"):wait().out)
  end))

  it("raises on misuse: a second answer, a forged header, a server's header, an interim status", function()
    local raised = {}
    with_server({}, function(_, response)
      local function try(...) raised[#raised + 1] = select(2, pcall(response.send, response, ...)) end
      try(200, { ["X-A"] = "a\r\nX-B: c" }, "")
      try(200, { ["Content-Length"] = "3" }, "")
      try(101)
      try(200, { ["X-A"] = 3 })
      response:send(204)
      try(200)
    end, function(url) http.curl(url):wait() end)()
    assert.matches("header that HTTP does not allow", raised[1])
    assert.matches("the server writes itself", raised[2])
    assert.matches("final status", raised[3])
    assert.matches("header values are strings", raised[4])
    assert.matches("answered already", raised[5])
  end)

  it("says EPIPE when the connection is gone", function()
    local code
    with_server({}, function(_, response)
      response:abort()
      code = select(3, response:send(200))
    end, function(url) assert.equal(52, http.curl(url):wait().code) end)()
    assert.equal("EPIPE", code)
  end)
end)

describe("an unanswered request", function()
  it("is answered 500 when its response is collected", with_server({}, function() end, function(url)
    local curl = http.curl(url, "-w", "%{http_code}")
    loop.until_true(function() collectgarbage() return curl.open == 0 end)
    assert.matches("no answer\n500$", curl.out)
  end))

  it("is answered 500 when its handler raises, and the error is logged",
    with_server({}, function() error("expected by this spec") end,
    function(url) assert.equal("500", http.curl(url, "-o", "/dev/null", "-w", "%{http_code}"):wait().out) end))
end)

describe("a stream", function()
  local current, is_gone
  local function open(_, response)
    current, is_gone = response, false
    response:start(200, { ["Content-Type"] = "application/json" })
    response:on_close(function() is_gone = true end)
  end

  after_each(function() current = nil end)

  it("sends its headers before anything is written", with_server({}, open, function(_, server)
    local connection = http.connect(server:port())
    connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    loop.until_true(function() return connection.text:find("Transfer%-Encoding: chunked\r\n\r\n$") end)
    connection.close()
  end))

  it("puts each write on the wire at once, as chunks (RFC 9112 section 7.1)", with_server({}, open, function(url)
    local curl = http.curl(url)
    loop.until_true(function() return current end)
    for n = 1, 3 do
      assert.is_true(current:write("event " .. n .. "\n"))
      loop.until_true(function() return curl.out:find("event " .. n .. "\n$") end)
    end
    assert.equal(0, current:pending())
    current:finish()
    assert.equal(0, curl:wait().code)
    assert.is_false(is_gone)
    assert.equal("EPIPE", select(3, current:write("late")))
  end))

  it("notices a client that leaves while nothing is written", with_server({}, open, function(url)
    local curl = http.curl(url)
    loop.until_true(function() return current end)
    curl:kill()
    loop.until_true(function() collectgarbage() return is_gone end)
    assert.equal("EPIPE", select(3, current:write("x")))
    curl:wait()
  end))

  it("is cut by abort: the client sees an incomplete answer", with_server({}, open, function(url)
    local curl = http.curl(url)
    loop.until_true(function() return current end)
    current:write("half")
    loop.until_true(function() return curl.out == "half" end)
    current:abort()
    current:abort()
    local code = curl:wait().code
    assert.is_true(code == 18 or code == 56)
    loop.until_true(function() return is_gone end)
  end))

  it("is cut by abort also while the client does not read", with_server({}, open, function(_, server)
    local connection = http.connect(server:port())
    connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    loop.until_true(function() return current and #connection.text > 0 end)
    connection.pause()
    for _ = 1, 20 do current:write(("x"):rep(1000000)) end
    loop.until_true(function() return current:pending() < 20000000 and current:pending() > 0 end)
    current:abort()
    loop.until_true(function() return is_gone end)
    connection.read()
    loop.until_true(function() return connection.is_closed end)
    assert.is_true(#connection.text < 20000000)
  end))

  it("is cut when 64 MiB wait for a client that does not read", with_server({}, open, function(_, server)
    local connection = http.connect(server:port())
    connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    loop.until_true(function() return current end)
    connection.pause()
    local chunk, code = ("x"):rep(1 << 20)
    for _ = 1, 65 do
      code = select(3, current:write(chunk))
      if code then break end
    end
    assert.equal("ENOBUFS", code)
    loop.until_true(function() return is_gone end)
    connection.close()
  end))

  it("is aborted when its response is collected unfinished", with_server({}, open, function(url)
    local curl = http.curl(url)
    loop.until_true(function() return current end)
    current:write("half")
    loop.until_true(function() return curl.out == "half" end)
    current = nil
    loop.until_true(function() collectgarbage() return curl.open == 0 end)
    assert.is_true(curl.code == 18 or curl.code == 56, "curl ended with " .. curl.code)
  end))

  it("delivers what was written before finish even when collected", with_server({}, open, function(url)
    local curl = http.curl(url)
    loop.until_true(function() return current end)
    current:write(("x"):rep(3000000))
    current:finish()
    current = nil
    collectgarbage()
    assert.equal(3000000, #curl:wait().out)
    assert.equal(0, curl.code)
  end))

  it("sends headers alone to HEAD", with_server({}, open, function(url)
    local curl = http.curl(url, "-I"):wait()
    assert.equal(0, curl.code)
    assert.matches("^HTTP/1.1 200", curl.out)
    loop.until_true(function() return is_gone end)
  end))

  it("ends with the connection for an HTTP/1.0 client", with_server({}, open, function(url)
    local curl = http.curl(url, "-0", "-i")
    loop.until_true(function() return current end)
    current:write("all")
    current:finish()
    assert.matches("\r\n\r\nall$", curl:wait().out)
  end))

  it("raises when it is written before it is started", function()
    local message
    with_server({}, function(_, response)
      message = select(2, pcall(response.write, response, "x"))
      answer(response, "")
    end, function(url) http.curl(url):wait() end)()
    assert.matches("write before start", message)
  end)
end)

describe("many streams", function()
  it("are all fed, and end with the server without a complaint", function()
    local streams, connections, lost = {}, {}, 0
    with_server({ max_connections = 256 }, function(_, response)
      response:start(200)
      response:on_close(function() lost = lost + 1 end)
      streams[#streams + 1] = response
    end, function(_, server)
      for n = 1, 200 do
        connections[n] = http.connect(server:port())
        connections[n].write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      end
      loop.until_true(function() return #streams == 200 end)
      for _, stream in ipairs(streams) do stream:write("event\n") end
      loop.until_true(function()
        for _, connection in ipairs(connections) do
          if not connection.text:find("event\n", 1, true) then return false end
        end
        return true
      end)
      server:close()
      server:close()
      assert.equal("EPIPE", select(3, streams[1]:write("x")))
      streams[2]:finish()
      streams[3]:abort()
      loop.until_true(function()
        for _, connection in ipairs(connections) do
          if not connection.is_closed then return false end
        end
        return true
      end)
    end)()
    assert.equal(0, lost)
    streams = nil
    collectgarbage()
  end)
end)

describe("server", function()
  it("may be closed by its own handler", loop.test(function()
    local server
    server = assert(httpd.listen({}, function(_, response)
      server:close()
      assert.equal("EPIPE", select(3, response:send(200)))
    end))
    assert.equal(52, http.curl(("http://127.0.0.1:%d/"):format(server:port())):wait().code)
    assert.error_matches(function() server:port() end, "server is closed")
  end))

  it("serves on when nobody references it", loop.test(function()
    local held = setmetatable({}, { __mode = "v" })
    held[1] = assert(httpd.listen({}, function(_, response) answer(response, "alive") end))
    local port = held[1]:port()
    collectgarbage()
    assert.equal("alive", http.curl(("http://127.0.0.1:%d/"):format(port)):wait().out)
    held[1]:close()
  end))

  it("names address, port and errno when it cannot listen", function()
    local server <close> = assert(httpd.listen({}, function() end))
    local other, message, code = httpd.listen({ port = server:port() }, function() end)
    assert.is_nil(other)
    assert.equal("EADDRINUSE", code)
    assert.matches("listen on 127.0.0.1 port " .. server:port(), message, 1, true)
  end)

  it("raises on options that make no sense", function()
    assert.error_matches(function() httpd.listen({ address = "localhost" }, function() end) end,
      "IPv4 or IPv6 address expected")
    assert.error_matches(function() httpd.listen({ port = 70000 }, function() end) end, "port")
    assert.error_matches(function() httpd.listen({}, nil) end, "function expected")
  end)

  it("listens on IPv6, and on both families at ::", loop.test(function()
    local remote
    local server <close> = assert(httpd.listen({ address = "::" }, function(request, response)
      remote = request.remote
      answer(response, "ok")
    end))
    assert.equal("::", server:address())
    assert.equal("ok", http.curl(("http://[::1]:%d/"):format(server:port())):wait().out)
    assert.equal("::1", remote)
    assert.equal("ok", http.curl(("http://127.0.0.1:%d/"):format(server:port())):wait().out)
    assert.equal("127.0.0.1", remote)
  end))
end)

describe("percent_decode", function()
  it("decodes pairs of hexadecimal digits and leaves the rest (RFC 3986 section 2.1)", function()
    assert.equal("a b/c%", httpd.percent_decode("a%20b%2fc%"))
    assert.equal("%zz%4", httpd.percent_decode("%zz%4"))
    assert.equal("a+b\0", httpd.percent_decode("a+b%00"))
  end)
end)

describe("parse_query", function()
  it("splits, decodes, and lets the last of a repeated name win", function()
    assert.same({ a = "1 2", b = "x=y", c = "", d = "4" }, httpd.parse_query("a=1+2&b=x%3Dy&c&&d=3&d=4"))
    assert.same({}, httpd.parse_query(nil))
    assert.same({ [""] = "v" }, httpd.parse_query("=v"))
  end)
end)
