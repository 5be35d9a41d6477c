local uv = require("luv")

local loop = require("spec.support.loop")
local support = require("spec.support.kube")

local with_server, with_raw, get, json = support.with_server, support.with_raw, support.get, support.json
local watch, wait_end = support.watch, support.wait_end
local chunked, chunk = support.chunked, support.chunk

describe("client:watch", function()
  local stream
  local function open(_, response)
    stream = response
    response:start(200, { ["Content-Type"] = "application/json" })
  end
  before_each(function() stream = nil end)

  it("gives each line as it comes, cut, and ends without error", with_server(open, function(client)
    local heard = watch(client, { path = "/w" })
    loop.until_true(function() return stream end)
    assert.equal(1, client:stats().watches)
    stream:write('{"object":{"metadata":{"managedFields":[],"name":"a"}}}\n{"b":')
    loop.until_true(function() return #heard.lines == 1 end)
    stream:write('1}\n\n{"c":2}\n')
    loop.until_true(function() return #heard.lines == 3 end)
    assert.same({ '{"object":{"metadata":{"name":"a"}}}', '{"b":1}', '{"c":2}' }, heard.lines)
    stream:finish()
    assert.is_nil(wait_end(heard))
    assert.equal(0, client:stats().watches)
  end))

  it("does not count against max_in_flight and has a connection of its own", with_server(function(request, response)
    if request.path == "/w" then return open(request, response) end
    json(response, 200, "{}")
  end, function(client)
    local heard = watch(client, { path = "/w" })
    loop.until_true(function() return stream end)
    assert.equal(200, get(client, "/").status)
    heard.handle:close()
  end, { max_in_flight = 1 }))

  it("says nothing after close, also from within on_line", with_server(open, function(client)
    local gone
    local heard = watch(client, { path = "/w" })
    heard.on_line = function()
      heard.handle:close()
      heard.handle:close()
    end
    loop.until_true(function() return stream end)
    stream:on_close(function() gone = true end)
    stream:write("{}\n{}\n{}\n")
    loop.until_true(function() return gone end)
    assert.equal(1, #heard.lines)
    assert.is_nil(heard.is_over)
  end))

  it("may be closed with its client from within on_line", with_server(open, function(client)
    local heard = watch(client, { path = "/w" })
    heard.on_line = function() client:close() end
    loop.until_true(function() return stream end)
    stream:write("{}\n{}\n{}\n")
    assert.equal("ECANCELED", wait_end(heard).code)
    assert.equal(1, #heard.lines)
  end))

  it("ends with the Status' reason on an HTTP error", with_server(function(_, response)
    json(response, 410, '{"kind":"Status","reason":"Expired","message":"too old resource version","code":410}')
  end, function(client)
    local err = wait_end(watch(client, { path = "/w?resourceVersion=1" }))
    assert.same({ "Expired", 410 }, { err.code, err.status })
    assert.matches("^GET http://127.0.0.1:%d+/w: HTTP status 410: too old resource version$", err.message)
  end))

  it("ends with the reason of the status when there is no Status", with_server(function(request, response)
    if request.path == "/busy" then return response:send(429, { ["Retry-After"] = "3" }, "slow down") end
    response:send(503, { ["Content-Type"] = "text/html" }, "<html>" .. ("x"):rep(200000))
  end, function(client)
    local err = wait_end(watch(client, { path = "/busy" }))
    assert.same({ "TooManyRequests", 429, 3 }, { err.code, err.status, err.retry_after })
    err = wait_end(watch(client, { path = "/html" }))
    assert.same({ "ServiceUnavailable", 503 }, { err.code, err.status })
  end))

  it("ends with EPROTO when HTML comes with status 200", with_server(function(_, response)
    response:send(200, { ["Content-Type"] = "text/html" }, "<html>\n<body>\nlog in\n")
  end, function(client)
    local heard = watch(client, { path = "/w" })
    local err = wait_end(heard)
    assert.equal("EPROTO", err.code)
    assert.matches("text/html, not JSON", err.message)
    assert.same({}, heard.lines)
  end))

  it("ends with EMSGSIZE on a line longer than max_line, in bounded memory", with_raw(function(peer, data)
    if not data then return end
    peer.write(chunked .. chunk('{"a":1}\n'))
    local text = chunk(("x"):rep(60000))
    local function more(err) if not err then peer.write(text, more) end end
    more()
  end, function(client)
    local heard = watch(client, { path = "/w", max_line = 1000000 })
    local err = wait_end(heard)
    assert.equal("EMSGSIZE", err.code)
    assert.matches("an event longer than 1000000 bytes", err.message)
    assert.same({ '{"a":1}' }, heard.lines)
  end))

  it("takes a line of exactly max_line bytes", with_server(open, function(client)
    local heard = watch(client, { path = "/w", max_line = 100000 })
    loop.until_true(function() return stream end)
    stream:write(("x"):rep(100000) .. "\n")
    loop.until_true(function() return #heard.lines == 1 end)
    stream:write(("x"):rep(100001) .. "\n")
    assert.equal("EMSGSIZE", wait_end(heard).code)
    assert.equal(1, #heard.lines)
  end))

  it("ends with ETIMEDOUT when nothing comes for `idle` seconds", with_server(open, function(client)
    local heard = watch(client, { path = "/w", idle = 0.3 })
    loop.until_true(function() return stream end)
    for _ = 1, 5 do
      local count = #heard.lines
      stream:write("{}\n")
      loop.until_true(function() return #heard.lines > count end)
    end
    local err = wait_end(heard)
    assert.equal("ETIMEDOUT", err.code)
    assert.matches("went silent", err.message)
  end))

  it("ends with ETIMEDOUT after `timeout` seconds though events come", with_server(open, function(client)
    local heard = watch(client, { path = "/w", timeout = 0.3, idle = 5 })
    loop.until_true(function() return stream end)
    local timer = uv.new_timer()
    timer:start(0, 20, function() stream:write("{}\n") end)
    local err = wait_end(heard)
    timer:close()
    assert.equal("ETIMEDOUT", err.code)
    assert.is_true(#heard.lines > 0)
  end))

  it("ends with ECONNRESET when the connection is cut", with_server(open, function(client)
    local heard = watch(client, { path = "/w" })
    loop.until_true(function() return stream end)
    stream:write('{"a":1}\n{"b"')
    loop.until_true(function() return #heard.lines == 1 end)
    stream:abort()
    assert.equal("ECONNRESET", wait_end(heard).code)
    assert.equal(1, #heard.lines)
  end))

  it("ends with ECONNRESET when the stream ends inside an event", with_server(open, function(client)
    local heard = watch(client, { path = "/w" })
    loop.until_true(function() return stream end)
    stream:write('{"a":1}\n{"b"')
    stream:finish()
    local err = wait_end(heard)
    assert.equal("ECONNRESET", err.code)
    assert.matches("inside an event", err.message)
    assert.equal(1, #heard.lines)
  end))

  it("carries 100,000 events in order", with_server(open, function(client)
    local count, in_order = 0, true
    local is_over
    client:watch({ path = "/w" }, function(line)
      count = count + 1
      in_order = in_order and line == ('{"n":%d}'):format(count)
    end, function() is_over = true end)
    loop.until_true(function() return stream end)
    for n = 1, 100000 do stream:write(('{"n":%d}\n'):format(n)) end
    stream:finish()
    loop.until_true(function() return is_over end, 20)
    assert.same({ 100000, true }, { count, in_order })
  end))
end)
