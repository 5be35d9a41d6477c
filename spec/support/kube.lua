--- What the specs of moonlb.core.kube share: a client and the server it talks to, and waiting for what it says.
-- The garbage collector runs in each callback.
-- @module spec.support.kube
local http = require("spec.support.http")
local httpd = require("moonlb.core.httpd")
local kube = require("moonlb.core.kube")
local loop = require("spec.support.loop")

local support = {}

--- A test: an API server by `handler`, and `body(client, server)`.
function support.with_server(handler, body, options)
  return loop.test(function()
    local server = assert(httpd.listen({}, function(request, response)
      collectgarbage()
      handler(request, response)
    end))
    options = options or {}
    options.server = ("http://127.0.0.1:%d"):format(server:port())
    local client = assert(kube.client(options))
    local ok, err = pcall(body, client, server)
    client:close()
    server:close()
    if not ok then error(err, 0) end
  end)
end

--- A test: a raw TCP server, and `body(client)`.
function support.with_raw(on_data, body, options)
  return loop.test(function()
    local port, close = http.raw_server(on_data)
    options = options or {}
    options.server = ("http://127.0.0.1:%d"):format(port)
    local client = assert(kube.client(options))
    local ok, err = pcall(body, client)
    client:close()
    close()
    if not ok then error(err, 0) end
  end)
end

--- Send a request. The result has `is_there`, then `err` and `answer`; and `handle`.
function support.send(client, options)
  local result = {}
  result.handle = client:request(options, function(err, answer)
    collectgarbage()
    assert(not result.is_there, "called twice")
    result.is_there, result.err, result.answer = true, err, answer
  end)
  return result
end

--- Wait for a sent request.
-- @return answer, err
function support.wait(result)
  loop.until_true(function() return result.is_there end, 20, "answer")
  return result.answer, result.err
end

--- Send a request, or GET a path, and wait.
-- @return answer, err
function support.get(client, options)
  if type(options) == "string" then options = { path = options } end
  return support.wait(support.send(client, options))
end

--- Answer with JSON.
function support.json(response, status, text)
  response:send(status, { ["Content-Type"] = "application/json" }, text)
end

--- Open a watch that keeps what it hears: `lines`, then `is_over` and `err`; and `handle`. `on_line` may be set.
function support.watch(client, options)
  local heard = { lines = {} }
  heard.handle = client:watch(options, function(line)
    collectgarbage()
    heard.lines[#heard.lines + 1] = line
    if heard.on_line then heard.on_line(line) end
  end, function(err)
    collectgarbage()
    assert(not heard.is_over, "ended twice")
    heard.is_over, heard.err = true, err
  end)
  return heard
end

--- Wait for the end of a watch.
-- @return err
function support.wait_end(heard)
  loop.until_true(function() return heard.is_over end, 20, "end of the watch")
  return heard.err
end

--- Head of a chunked JSON answer, and one chunk of it.
support.chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

function support.chunk(text) return ("%x\r\n%s\r\n"):format(#text, text) end

return support
