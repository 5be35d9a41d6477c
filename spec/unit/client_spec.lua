local client = require("moonlb.kube.client")
local json = require("moonlb.json")
local loop = require("spec.support.loop")

-- A client of moonlb.core.kube that gives prepared answers in order, and keeps what it was asked.
local function new_core(answers)
  local core = { asked = {}, watches = {} }
  function core.request(_, request, callback)
    core.asked[#core.asked + 1] = request
    local answer = table.remove(answers, 1)
    if answer.code then callback(answer) else callback(nil, answer) end
  end
  function core.watch(_, options, on_line, on_end)
    local watch = { options = options, on_line = on_line, on_end = on_end }
    function watch.close() watch.is_closed = true end
    core.watches[#core.watches + 1] = watch
    return watch
  end
  return core
end

local function with(answers, body, options)
  return loop.test(function()
    local core = new_core(answers)
    body(client.new(core, options), core)
  end)
end

describe("client.get", function()
  it("returns the object", with({ { status = 200, body = '{"a":1}' } }, function(api, core)
    assert.same({ a = 1 }, api:get("/x"))
    assert.equal("GET", core.asked[1].method)
  end))

  it("returns the Status' message and reason, and the HTTP status", with({ { status = 404,
    body = '{"kind":"Status","reason":"NotFound","message":"services \\"x\\" not found"}' } }, function(api)
      assert.same({ nil, 'services "x" not found', "NotFound", 404 }, { api:get("/x") })
    end))

  it("names a missing right in the server's words: verb and resource", with({ { status = 403, body =
    '{"reason":"Forbidden","message":"services is forbidden: User \\"u\\" cannot list resource \\"services\\""}' } },
    function(api)
      local _, message, reason = api:get("/x")
      assert.matches('cannot list resource "services"', message)
      assert.equal("Forbidden", reason)
    end))

  it("gives a reason of its own to answers that are no Status", with({ { status = 409, body = "" },
    { status = 502, body = "<html>bad\ngateway" }, { status = 200, body = "<html>" }, { status = 200, body = "[1" } },
    function(api)
      assert.equal("Conflict", select(3, api:get("/x")))
      local _, message, reason = api:get("/x")
      assert.equal("HTTP502", reason)
      assert.equal("HTTP 502: <html>bad gateway", message)
      assert.equal("EBADMSG", select(3, api:get("/x")))
      assert.equal("EBADMSG", select(3, api:get("/x")))
    end))

  it("returns the errno of a request without an answer", with({ { message = "no", code = "ETIMEDOUT" } }, function(api)
    assert.equal("ETIMEDOUT", select(3, api:get("/x")))
  end))

  it("comes again when the server asks for it (429, 503 with Retry-After), so many times", with({
    { status = 429, body = "", retry_after = 0.001 }, { status = 503, body = "", retry_after = 0.001 },
    { status = 200, body = "{}" }, { status = 503, body = "" }, { status = 429, body = "", retry_after = 0.001 },
    { status = 429, body = "", retry_after = 0.001 }, { status = 429, body = "", retry_after = 0.001 } },
    function(api, core)
      assert.same({}, api:get("/x"))
      assert.equal(3, #core.asked)
      assert.equal("ServiceUnavailable", select(3, api:get("/x")))
      assert.equal("TooManyRequests", select(3, api:get("/x")))
      assert.equal(7, #core.asked)
    end, { tries = 3 }))

  it("tells of a refused token", function()
    local count = 0
    with({ { status = 401, body = "" } }, function(api)
      assert.equal("Unauthorized", select(3, api:get("/x")))
    end, { on_unauthorized = function() count = count + 1 end })()
    assert.equal(1, count)
  end)
end)

describe("client.merge_patch", function()
  it("sends a merge patch (RFC 7386), in which null takes away and arrays stay arrays", with({ { status = 200,
    body = "{}" } }, function(api, core)
      api:merge_patch("/x", { a = json.null, b = json.array({}) })
      assert.equal('{"a":null,"b":[]}', core.asked[1].body)
      assert.same({ "PATCH", "application/merge-patch+json" }, { core.asked[1].method, core.asked[1].content_type })
    end))
end)

describe("client.list", function()
  it("reads page after page, and returns the list's version", with({
    { status = 200, body = '{"metadata":{"resourceVersion":"7","continue":"a/b="},"items":[{"n":1},{"n":2}]}' },
    { status = 200, body = '{"metadata":{"resourceVersion":"7"},"items":[{"n":3}]}' } }, function(api, core)
      local sizes = {}
      assert.equal("7", api:list("/x", { limit = 2, field_selector = "metadata.name=n" }, function(items, version)
        sizes[#sizes + 1] = #items .. "@" .. version
      end))
      assert.same({ "2@7", "1@7" }, sizes)
      assert.equal("/x?fieldSelector=metadata.name%3Dn&limit=2", core.asked[1].path)
      assert.equal("/x?continue=a%2Fb%3D&fieldSelector=metadata.name%3Dn&limit=2", core.asked[2].path)
    end))

  it("ends with the reason when a page is refused", with({
    { status = 200, body = '{"metadata":{"resourceVersion":"7","continue":"c"},"items":[]}' },
    { status = 410, body = '{"reason":"Expired","message":"too old"}' } }, function(api)
      local version, _, reason = api:list("/x", {}, function() end)
      assert.is_nil(version)
      assert.equal("Expired", reason)
    end))
end)

describe("client.watch", function()
  local function watched(body)
    return with({}, function(api, core)
      local heard, ended = {}, {}
      api:watch("/x", { resource_version = "5", timeout = 300 }, function(kind, object)
        heard[#heard + 1] = kind .. " " .. tostring(object.n)
      end, function(err) ended[#ended + 1] = err or "clean" end)
      body(core.watches[1], heard, ended)
    end)
  end

  it("asks for bookmarks, from a version, for a time", watched(function(watch)
    assert.equal("/x?allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=300&watch=1", watch.options.path)
    assert.is_true(watch.options.timeout > 300)
  end))

  it("hands over events", watched(function(watch, heard, ended)
    watch.on_line('{"type":"ADDED","object":{"n":"a"}}')
    watch.on_end(nil)
    assert.same({ "ADDED a" }, heard)
    assert.same({ "clean" }, ended)
  end))

  it("ends at an ERROR event with its reason: 410 is Expired", watched(function(watch, _, ended)
    watch.on_line('{"type":"ERROR","object":{"kind":"Status","reason":"Gone","code":410,"message":"too old"}}')
    assert.equal("Expired", ended[1].code)
    assert.is_true(watch.is_closed)
  end))

  it("ends at a line that is no event", watched(function(watch, heard, ended)
    watch.on_line('{"type":"ADDED","obj')
    assert.equal("EBADMSG", ended[1].code)
    assert.same({}, heard)
  end))
end)
