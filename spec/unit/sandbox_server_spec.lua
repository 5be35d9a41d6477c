-- The embedded API on its socket: watches, faults, and who may talk to it. The client is curl.
local json = require("moonlb.sandbox.json")
local apis = require("moonlb.sandbox.api")
local http = require("spec.support.http")
local loop = require("spec.support.loop")

local CONFIGS = "/api/v1/namespaces/default/configmaps"

-- A test with a server of its own.
local function served(fn, options)
  return loop.test(function()
    local server = assert(apis.start(options))
    local ok, err = xpcall(fn, debug.traceback, server)
    server:stop()
    server:stop()
    if not ok then
      error(err, 0)
    end
  end, 30)
end

local function curl(server, path, ...)
  local arguments = { ... }
  arguments[#arguments + 1] = server.url .. path
  return http.curl(table.unpack(arguments))
end

-- Exit code of curl, HTTP status, body.
local function ask(server, path, ...)
  local process = curl(server, path, "-w", "\n%{http_code}", ...):wait()
  local body, status = process.out:match("^(.*)\n(%d+)$")
  return process.code, tonumber(status), body
end

local function create(server, name, value)
  assert(server:create("v1", "configmaps", "default", {
    metadata = { name = name, labels = { value = value } }, data = { v = value },
  }))
end

local function change(server, name, value)
  assert.equal(0, (ask(server, CONFIGS .. "/" .. name, "-X", "PATCH", "-H",
    "Content-Type: application/merge-patch+json", "-d", ('{"metadata":{"labels":{"value":"%s"}}}'):format(value))))
end

-- "ADDED a 7": what came so far.
local function events(process)
  local list = {}
  for line in process.out:gmatch("({[^\n]+})\n") do
    local event = assert(json.decode(line))
    local metadata = event.object.metadata
    list[#list + 1] = ("%s %s %s"):format(event.type, metadata.name or event.object.kind,
      metadata.labels and metadata.labels.value or event.object.reason or "")
  end
  return list
end

local function until_events(process, count)
  loop.until_true(function() return #events(process) >= count end, 10, count .. " events")
  return events(process)
end

describe("a watch", function()
  it("without a resourceVersion gives what is there, then what changes", served(function(server)
    create(server, "a", "1")
    local watch = curl(server, CONFIGS .. "?watch=1")
    until_events(watch, 1)
    create(server, "b", "1")
    change(server, "a", "2")
    ask(server, CONFIGS .. "/a", "-X", "DELETE")
    assert.same({ "ADDED a 1", "ADDED b 1", "MODIFIED a 2", "DELETED a 2" }, until_events(watch, 4))
    watch:kill()
    watch:wait()
    loop.until_true(function() return next(server.watches) == nil end, 10, "the server's notice of a client that left")
  end))

  it("from a resourceVersion gives only what came after", served(function(server)
    create(server, "a", "1")
    local from = server.store.revision
    create(server, "b", "1")
    local watch = curl(server, CONFIGS .. "?watch=true&timeoutSeconds=1&resourceVersion=" .. from):wait()
    assert.same({ "ADDED b 1" }, events(watch))
    assert.equal(0, watch.code)
  end))

  it("with a selector shows coming and going; who leaves is shown as it was", served(function(server)
    create(server, "a", "1")
    local from = server.store.revision
    local watch = curl(server, CONFIGS .. "?watch=1&labelSelector=value%3D1&resourceVersion=" .. from)
    change(server, "a", "2")
    change(server, "a", "3")
    change(server, "a", "1")
    assert.same({ "DELETED a 1", "ADDED a 1" }, until_events(watch, 2))
    local left = json.decode(watch.out:match("({[^\n]+})\n"))
    assert.equal(from + 1, tonumber(left.object.metadata.resourceVersion))
    watch:kill()
  end))

  it("from a forgotten version is one event ERROR 410, then the end", served(function(server)
    create(server, "a", "1")
    local from = server.store.revision
    create(server, "b", "1")
    server.faults:set({ action = "compact" })
    local code, status, body = ask(server, CONFIGS .. "?watch=1&resourceVersion=" .. from)
    assert.same({ 0, 200 }, { code, status })
    local event = json.decode(body)
    assert.same({ "ERROR", "Expired", 410 }, { event.type, event.object.reason, event.object.code })
  end))

  it("gives bookmarks to those who ask, also before its end", served(function(server)
    local with = curl(server, CONFIGS .. "?watch=1&allowWatchBookmarks=true&timeoutSeconds=1")
    local without = curl(server, CONFIGS .. "?watch=1&timeoutSeconds=1")
    assert.same({ "BOOKMARK ConfigMap " }, events(with:wait()))
    assert.same({}, events(without:wait()))
    assert.matches('"resourceVersion":"' .. server.store.revision .. '"', with.out)
  end))

  it("as Tables sends the columns once", served(function(server)
    create(server, "a", "1")
    create(server, "b", "1")
    local watch = curl(server, CONFIGS .. "?watch=1&timeoutSeconds=1", "-H",
      "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"):wait()
    local first, second = watch.out:match("^([^\n]+)\n([^\n]+)\n")
    assert.equal(3, #json.decode(first).object.columnDefinitions)
    assert.equal(json.null, json.decode(second).object.columnDefinitions)
  end))

  it("refuses to send initial events: clients fall back to a list", served(function(server)
    local _, status = ask(server, CONFIGS .. "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")
    assert.equal(422, status)
  end))
end)

describe("faults", function()
  local function set(server, fault)
    local _, status, body = ask(server, "/sandbox/faults", "-X", "POST", "-d", fault)
    assert.equal(200, status, body)
  end

  it("answer with a status, for so many requests of a kind", served(function(server)
    create(server, "a", "1")
    set(server, '{"action":"status","code":429,"retryAfter":2,"verb":"get","path":"*/configmaps/*","count":2}')
    for _ = 1, 2 do
      local _, status, body = ask(server, CONFIGS .. "/a", "-i")
      assert.equal(429, status)
      assert.matches("\nRetry%-After: 2\r", body)
      assert.matches('"reason":"TooManyRequests"', body)
      assert.equal(200, select(2, ask(server, CONFIGS)))
    end
    assert.equal(200, select(2, ask(server, CONFIGS .. "/a")))
  end))

  it("drop the connection, before or after the request was carried out", served(function(server)
    local function post(name)
      return ask(server, CONFIGS, "-X", "POST", "-H", "Content-Type: application/json", "-d",
        ('{"metadata":{"name":"%s"}}'):format(name))
    end
    set(server, '{"action":"drop","method":"POST"}')
    local code = post("early")
    assert.is_true(code ~= 0)
    assert.equal(404, select(2, ask(server, CONFIGS .. "/early")))
    set(server, '{"action":"drop","method":"POST","late":true}')
    code = post("late")
    assert.is_true(code ~= 0)
    assert.equal(200, select(2, ask(server, CONFIGS .. "/late")))
  end))

  it("answer a web page, half the JSON, or late", served(function(server)
    set(server, '[{"action":"html"},{"action":"truncate"},{"action":"slow","delay":0.2}]')
    assert.matches("^<!DOCTYPE html>", select(3, ask(server, CONFIGS)))
    assert.is_nil((json.decode(select(3, ask(server, CONFIGS)))))
    assert.is_table(json.decode(select(3, ask(server, CONFIGS))))
  end))

  it("cut, end and silence watches", served(function(server)
    local from = server.store.revision
    local function watch()
      local before = 0
      for _ in pairs(server.watches) do before = before + 1 end
      local process = curl(server, CONFIGS .. "?watch=1&resourceVersion=" .. from)
      loop.until_true(function()
        local now = 0
        for _ in pairs(server.watches) do now = now + 1 end
        return now > before
      end, 10, "the watch")
      return process
    end
    local process = watch()
    set(server, '{"action":"dropWatches"}')
    assert.is_true(process:wait().code ~= 0)
    process = watch()
    set(server, '{"action":"endWatches"}')
    assert.equal(0, process:wait().code)
    local silent = watch()
    set(server, '{"action":"freezeWatches"}')
    local alive = watch()
    create(server, "a", "1")
    assert.same({ "ADDED a 1" }, until_events(alive, 1))
    assert.same({}, events(silent))
    assert.is_nil(silent.code)
    silent:kill()
    alive:kill()
  end))

  it("are shown, cleared, and refused when they make no sense", served(function(server)
    set(server, '{"action":"drop","seconds":60,"path":"/nowhere"}')
    local shown = json.decode(select(3, ask(server, "/sandbox/faults")))
    assert.equal("/nowhere", shown.faults[1].path)
    ask(server, "/sandbox/faults", "-X", "DELETE")
    assert.equal(0, #json.decode(select(3, ask(server, "/sandbox/faults"))).faults)
    for _, fault in ipairs({ '{"action":"nonsense"}', '{"action":"status"}', '{"action":"slow"}', "{bad", "[1]",
      '{"action":"drop","count":"x"}', '{"action":"drop","colour":"red"}' }) do
      assert.equal(400, select(2, ask(server, "/sandbox/faults", "-X", "POST", "-d", fault)), fault)
    end
  end))
end)

describe("strangers", function()
  it("are refused: a Host that is not loopback, an Origin", served(function(server)
    for _, header in ipairs({ "Host: example.com", "Host: 127.0.0.1.example.com", "Host: 10.0.0.1",
      "Origin: http://127.0.0.1", "Origin: null" }) do
      assert.equal(403, select(2, ask(server, "/api/v1/namespaces", "-H", header)), header)
      assert.equal(403, select(2, ask(server, "/sandbox/faults", "-H", header)), header)
    end
    for _, header in ipairs({ "Host: localhost:1", "Host: [::1]:80", "Host: 127.1.2.3" }) do
      assert.equal(200, select(2, ask(server, "/api/v1/namespaces", "-H", header)), header)
    end
  end))
end)
