local uv = require("luv")

local http = require("spec.support.http")
local httpd = require("moonlb.core.httpd")
local kube = require("moonlb.core.kube")
local loop = require("spec.support.loop")
local support = require("spec.support.kube")

local with_server, with_raw = support.with_server, support.with_raw
local send, wait, get, json = support.send, support.wait, support.get, support.json
local watch, wait_end = support.watch, support.wait_end
local chunked, chunk = support.chunked, support.chunk

describe("client:request", function()
  local seen
  local function keep(request, response)
    seen = request
    json(response, 200, '{"a":1}')
  end

  it("gives status, body and content type", with_server(keep, function(client)
    local answer = get(client, "/api/v1/services?limit=1")
    assert.same({ status = 200, body = '{"a":1}', content_type = "application/json" }, answer)
    assert.same({ "GET", "/api/v1/services", "limit=1" }, { seen.method, seen.path, seen.query })
    assert.equal("moonlb/" .. require("moonlb.core.runtime").version, seen.headers["user-agent"])
    assert.equal("application/json", seen.headers.accept)
    assert.equal("identity", seen.headers["accept-encoding"])
    assert.is_nil(seen.headers.authorization)
  end))

  it("sends the body of each method as it is, NULs included", with_server(keep, function(client)
    for _, method in ipairs({ "POST", "PUT", "PATCH", "DELETE" }) do
      get(client, { method = method, path = "/x", body = '{"b":"\0"}', content_type = "application/merge-patch+json" })
      assert.same({ method, '{"b":"\0"}', "application/merge-patch+json" },
        { seen.method, seen.body, seen.headers["content-type"] })
    end
    get(client, { method = "DELETE", path = "/x" })
    assert.same({ "DELETE", "", nil }, { seen.method, seen.body, seen.headers["content-type"] })
    get(client, { method = "POST", path = "/x" })
    assert.same({ "POST", "0" }, { seen.method, seen.headers["content-length"] })
  end))

  it("sends a large body at once, without asking for 100 Continue", with_server(keep, function(client)
    get(client, { method = "PUT", path = "/x", body = ("x"):rep(2000000) })
    assert.equal(2000000, #seen.body)
    assert.is_nil(seen.headers.expect)
  end))

  it("gives the headers alone to HEAD", with_server(keep, function(client)
    assert.equal("", get(client, { method = "HEAD", path = "/x" }).body)
  end))

  it("hands over errors and redirects as answers, with Retry-After", with_server(function(request, response)
    if request.path == "/busy" then
      response:send(429, { ["Retry-After"] = "7" }, "")
    else
      response:send(302, { Location = "/busy" }, "")
    end
  end, function(client)
    assert.same({ 429, 7 }, { get(client, "/busy").status, get(client, "/busy").retry_after })
    assert.equal(302, get(client, "/moved").status)
  end))

  it("cuts managedFields out of JSON, unless told not to", with_server(function(_, response)
    json(response, 200, '{"metadata":{"managedFields":[],"name":"a"}}')
  end, function(client)
    assert.equal('{"metadata":{"name":"a"}}', get(client, "/a").body)
    assert.equal('{"metadata":{"managedFields":[],"name":"a"}}', get(client, { path = "/a", keep_managed = true }).body)
  end))

  it("carries a list of 20 MB", with_server(function(_, response)
    json(response, 200, ("x"):rep(20000000))
  end, function(client)
    assert.equal(20000000, #get(client, "/").body)
  end))

  it("uses connections again", with_server(function(_, response) json(response, 200, "{}") end, function(client)
    for _ = 1, 20 do assert.equal(200, get(client, "/").status) end
    assert.same({ requests = 20, errors = 0, in_flight = 0, queued = 0, watches = 0, by = { ["GET 200"] = 20 } },
      client:stats())
  end))

  it("raises on misuse", with_server(keep, function(client)
    local function raises(options, pattern)
      assert.error_matches(function() client:request(options, function() end) end, pattern)
    end
    raises({}, "path: string expected")
    raises({ path = "x" }, "path: it begins with a slash")
    raises({ path = "/a b" }, "percent encoding expected")
    raises({ path = "/a\r\nX: y" }, "percent encoding expected")
    raises({ path = "/", method = "get" }, "method: DELETE")
    raises({ path = "/", timeout = 0 }, "timeout: positive")
    raises({ path = "/", priority = "high" }, "priority")
    assert.error_matches(function() client:request({ path = "/" }) end, "function expected")
  end))

  it("survives a callback that raises", with_server(keep, function(client)
    client:request({ path = "/" }, function() error("expected by this spec") end)
    assert.equal(200, get(client, "/").status)
  end))
end)

describe("the queue", function()
  local waiting
  local function park(request, response) waiting[#waiting + 1] = { path = request.path, response = response } end
  before_each(function() waiting = {} end)

  it("sends max_in_flight at once, normal before low", with_server(park, function(client)
    local results = {}
    local function ask(path, priority) results[#results + 1] = send(client, { path = path, priority = priority }) end
    ask("/1")
    ask("/2")
    ask("/low1", "low")
    ask("/low2", "low")
    ask("/3")
    ask("/4")
    assert.same({ 2, 4 }, { client:stats().in_flight, client:stats().queued })
    local order = {}
    while #order < 6 do
      loop.until_true(function() return #waiting > 0 end)
      assert.is_true(#waiting <= 2)
      local first = table.remove(waiting, 1)
      order[#order + 1] = first.path
      json(first.response, 200, "{}")
    end
    for _, result in ipairs(results) do wait(result) end
    -- Two connections: the server may see neighbours in either order.
    local first_four = { table.unpack(order, 1, 4) }
    table.sort(first_four)
    assert.same({ "/1", "/2", "/3", "/4" }, first_four)
    assert.same({ ["/low1"] = true, ["/low2"] = true }, { [order[5]] = true, [order[6]] = true })
  end, { max_in_flight = 2 }))

  it("is first in, first out in each priority, normal before low", with_server(park, function(client)
    local order, results = {}, {}
    for _, path in ipairs({ "/1", "/low1", "/low2", "/2", "/3" }) do
      results[#results + 1] = send(client, { path = path, priority = path:find("low") and "low" or "normal" })
    end
    for _ = 1, 5 do
      loop.until_true(function() return #waiting > 0 end)
      order[#order + 1] = waiting[1].path
      json(table.remove(waiting).response, 200, "{}")
    end
    for _, result in ipairs(results) do wait(result) end
    assert.same({ "/1", "/2", "/3", "/low1", "/low2" }, order)
  end, { max_in_flight = 1 }))

  it("times out while waiting, too", with_server(park, function(client)
    local first = send(client, { path = "/1" })
    local _, err = get(client, { path = "/2", timeout = 0.05 })
    assert.equal("ETIMEDOUT", err.code)
    assert.matches("in the queue", err.message)
    loop.until_true(function() return #waiting == 1 end)
    json(waiting[1].response, 200, "{}")
    assert.equal(200, wait(first).status)
  end, { max_in_flight = 1 }))

  it("refuses with EAGAIN when 50,000 wait", with_server(park, function(client)
    for _ = 1, 50001 do client:request({ path = "/" }, function() end) end
    local _, err = get(client, "/one-more")
    assert.equal("EAGAIN", err.code)
  end, { max_in_flight = 1 }))

  it("cancels what waits and what is under way, and goes on", with_server(park, function(client)
    local running, queued = send(client, { path = "/1" }), send(client, { path = "/2" })
    local last = send(client, { path = "/3" })
    loop.until_true(function() return #waiting == 1 end)
    running.handle:cancel()
    queued.handle:cancel()
    assert.is_nil(running.is_there)
    assert.equal("ECANCELED", select(2, wait(running)).code)
    assert.equal("ECANCELED", select(2, wait(queued)).code)
    running.handle:cancel()
    loop.until_true(function() return #waiting == 2 end)
    assert.equal("/3", waiting[2].path)
    json(waiting[2].response, 200, "{}")
    assert.equal(200, wait(last).status)
  end, { max_in_flight = 1 }))

  it("ends everything with ECANCELED when the client is closed, from a callback", with_server(park, function(client)
    local results = {}
    for n = 1, 5 do results[n] = send(client, { path = "/" .. n }) end
    local heard = watch(client, { path = "/watch" })
    client:request({ path = "/6", timeout = 0.05, priority = "low" }, function() client:close() end)
    for n = 1, 5 do assert.equal("ECANCELED", select(2, wait(results[n])).code) end
    assert.equal("ECANCELED", wait_end(heard).code)
    client:close()
    assert.error_matches(function() client:request({ path = "/" }, function() end) end, "client is closed")
  end, { max_in_flight = 2 }))
end)

describe("errors", function()
  it("names method, URL without query, and cause: nobody listens", loop.test(function()
    local server = assert(httpd.listen({}, function() end))
    local port = server:port()
    server:close()
    local client = assert(kube.client({ server = ("http://127.0.0.1:%d"):format(port), token = "secret-token" }))
    local _, err = get(client, "/api?x=y")
    assert.equal("ECONNREFUSED", err.code)
    assert.matches(("^GET http://127%%.0%%.0%%.1:%d/api: .*Connection refused$"):format(port), err.message)
    assert.same({ 1, 1 }, { client:stats().requests, client:stats().errors })
    client:close()
  end))

  it("EHOSTUNREACH: the name does not resolve", loop.test(function()
    local client <close> = assert(kube.client({ server = "http://no-such-host.invalid" }))
    local _, err = get(client, "/")
    assert.equal("EHOSTUNREACH", err.code)
    assert.matches("no%-such%-host%.invalid", err.message)
  end))

  it("ETIMEDOUT: no answer in time", with_raw(function() end, function(client)
    local _, err = get(client, { path = "/", timeout = 0.1 })
    assert.equal("ETIMEDOUT", err.code)
  end))

  it("ETIMEDOUT: an answer that trickles", with_raw(function(peer, data)
    if not data then return end
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    local timer = uv.new_timer()
    timer:start(0, 10, function() if peer.socket:is_closing() then timer:close() else peer.write("x") end end)
  end, function(client)
    local _, err = get(client, { path = "/", timeout = 0.3 })
    assert.equal("ETIMEDOUT", err.code)
  end))

  it("EMSGSIZE: an announced body longer than max_bytes", with_raw(function(peer, data)
    if data then peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n") end
  end, function(client)
    local _, err = get(client, { path = "/", max_bytes = 1000 })
    assert.equal("EMSGSIZE", err.code)
    assert.matches("longer than 1000 bytes", err.message)
  end))

  it("EMSGSIZE: a body without end is cut off", with_raw(function(peer, data)
    if not data then return end
    peer.write(chunked)
    local text = chunk(("x"):rep(60000))
    local function more(err) if not err then peer.write(text, more) end end
    more()
  end, function(client)
    local _, err = get(client, { path = "/", max_bytes = 1000000 })
    assert.equal("EMSGSIZE", err.code)
  end))

  it("ECONNRESET: truncated answers", with_raw(function(peer, data, n)
    if not data then return end
    local announced = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"items\":["
    peer.write(n == 1 and announced or chunked .. chunk("{\"items\":["), function() peer.close() end)
  end, function(client)
    assert.equal("ECONNRESET", select(2, get(client, "/1")).code)
    assert.equal("ECONNRESET", select(2, get(client, "/2")).code)
  end))

  it("EPROTO: no HTTP at all", with_raw(function(peer, data)
    if data then peer.write("SSH-2.0-OpenSSH_9.2\r\n") end
  end, function(client)
    local _, err = get(client, { path = "/", timeout = 2 })
    assert.equal("EPROTO", err.code)
  end))

  it("sends a GET again when a kept connection turns out to be dead", with_raw(function(peer, data, n)
    if not data then return end
    if n == 1 and peer.count then
      peer.reset()
    else
      peer.count = 1
      peer.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" .. n)
    end
  end, function(client)
    assert.equal("1", get(client, "/").body)
    assert.equal("2", get(client, "/").body)
  end))
end)

describe("client", function()
  it("refuses what it cannot use, and names it", function()
    local function refused(options)
      local client, message, code = kube.client(options)
      assert.is_nil(client)
      return code .. ": " .. message
    end
    assert.matches("^EINVAL: server ftp://x", refused({ server = "ftp://x" }))
    assert.matches("^EINVAL: server", refused({ server = "http://" }))
    assert.matches("^ENOENT: read /nowhere/ca", refused({ server = "https://x", ca_file = "/nowhere/ca" }))
    assert.matches("^ENOENT: read token file /nowhere/t", refused({ server = "https://x", token_file = "/nowhere/t" }))
    local text = refused({ server = "https://x", token = "secret\r\nX: y" })
    assert.matches("^EINVAL: token", text)
    assert.is_nil(text:find("secret", 1, true))
    assert.error_matches(function() kube.client({}) end, "server: string expected")
  end)

  it("keeps the path of the server's URL", function()
    local path
    with_server(function(request, response)
      path = request.path
      json(response, 200, "{}")
    end, function(_, server)
      local client <close> = assert(kube.client({ server = ("http://127.0.0.1:%d/k8s/c-1/"):format(server:port()) }))
      get(client, "/api")
    end)()
    assert.equal("/k8s/c-1/api", path)
  end)

  it("asks a proxy only when one is given", function()
    local uri
    local port, close
    loop.test(function()
      port, close = http.raw_server(function(peer, data)
        if not data then return end
        uri = data:match("^GET (%S+)")
        peer.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
      end)
      local proxy = ("http://127.0.0.1:%d"):format(port)
      local client <close> = assert(kube.client({ server = "http://api.invalid:8080", proxy = proxy }))
      assert.equal(200, get(client, "/x").status)
      assert.equal("http://api.invalid:8080/x", uri)
      uv.os_setenv("http_proxy", proxy)
      local direct <close> = assert(kube.client({ server = "http://api.invalid:8080" }))
      assert.equal("EHOSTUNREACH", select(2, get(direct, "/x")).code)
      uv.os_unsetenv("http_proxy")
      close()
    end)()
  end)

  it("may be collected at any time", loop.test(function()
    for _ = 1, 3 do
      local client = assert(kube.client({ server = "http://127.0.0.1:1" }))
      client:request({ path = "/" }, function() end)
      client = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
    end
    local client = assert(kube.client({ server = "http://127.0.0.1:1" }))
    assert.equal("ECONNREFUSED", select(2, get(client, "/")).code)
  end))
end)

describe("the token", function()
  local function authorization(request, response)
    json(response, 200, request.headers.authorization or "none")
  end
  local path

  local function write_token(text)
    local name = path .. ".new"
    local file = assert(io.open(name, "w"))
    file:write(text)
    file:close()
    assert(os.rename(name, path)) -- another inode, as a mounted volume gives
  end

  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  it("is sent as a bearer token (RFC 6750 section 2.1), and may change", with_server(authorization, function(client)
    assert.equal("Bearer abc", get(client, "/").body)
    client:set_token("def")
    assert.equal("Bearer def", get(client, "/").body)
    client:set_token(nil)
    assert.equal("none", get(client, "/").body)
    assert.error_matches(function() client:set_token("a\nb") end, "no spaces or control characters")
  end, { token = "abc" }))

  it("is read from its file, and again after a 401, which is tried once more", function()
    local valid, asked = "one", 0
    local function handler(request, response)
      asked = asked + 1
      local ok = request.headers.authorization == "Bearer " .. valid
      json(response, ok and 200 or 401, "{}")
    end
    write_token("one\n")
    with_server(handler, function(client)
      assert.equal(200, get(client, "/").status)
      valid = "two"
      assert.equal(401, get(client, "/").status)
      assert.equal(2, asked) -- the file still says the same: no use in asking again
      write_token("two\n")
      assert.equal(200, get(client, "/").status)
      assert.equal(4, asked)
      valid = "three"
      write_token("four")
      assert.equal(401, get(client, "/").status)
      assert.equal(6, asked)
      os.remove(path)
      assert.equal(401, get(client, "/").status)
      valid = "four"
      assert.equal(200, get(client, "/").status)
    end, { token_file = path })()
  end)

  it("is tried no third time, however often its file changes", function()
    local asked = 0
    write_token("t0")
    with_server(function(_, response)
      asked = asked + 1
      write_token("t" .. asked)
      json(response, 401, "{}")
    end, function(client)
      assert.equal(401, get(client, "/").status)
      assert.equal(2, asked)
    end, { token_file = path })()
  end)

  it("is read again for a watch that is refused", function()
    write_token("old")
    with_server(function(request, response)
      if request.headers.authorization ~= "Bearer new" then return json(response, 401, "{}") end
      response:start(200, { ["Content-Type"] = "application/json" })
      response:write("{}\n")
      response:finish()
    end, function(client)
      write_token("new")
      local heard = watch(client, { path = "/w" })
      assert.is_nil(wait_end(heard))
      assert.same({ "{}" }, heard.lines)
    end, { token_file = path })()
  end)
end)
