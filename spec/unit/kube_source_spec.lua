-- What others than the API's client use of the HTTP client: an address to leave from, a header of their own.
local async = require("moonlb.async")
local core = require("moonlb.core.kube")
local httpd = require("moonlb.core.httpd")
local loop = require("spec.support.loop")

describe("kube.client", function()
  local server, seen, client

  before_each(function()
    seen = {}
    server = assert(httpd.listen({ address = "127.0.0.1", port = 0 }, function(request, response)
      seen[#seen + 1] = request
      response:send(200, {}, "ok")
    end))
  end)

  after_each(function()
    if client then client:close() end
    client = nil
    server:close()
  end)

  local function open(source)
    client = assert(core.client({ server = "http://127.0.0.1:" .. server:port(), source = source }))
    return client
  end

  it("leaves from the address that it is told, on a connection for each request", loop.test(function()
    open("127.0.0.9")
    assert.equal("ok", assert(async.call(client, "request", { path = "/" })).body)
    assert.equal("ok", assert(async.call(client, "request", { path = "/" })).body)
    assert.matches("^127%.0%.0%.9", seen[1].remote)
    assert.matches("^127%.0%.0%.9", seen[2].remote)
  end))

  it("says that an address is not on this node", loop.test(function()
    open("203.0.113.77")
    local answer, _, code = async.call(client, "request", { path = "/" })
    assert.is_nil(answer)
    assert.equal("EADDRNOTAVAIL", code)
  end))

  it("takes an address alone: a name would go to a resolver, or be an interface", function()
    for _, source in ipairs({ "lo", "localhost", "if!lo", "127.0.0.1 " }) do
      assert.has_error(function() core.client({ server = "http://127.0.0.1:1", source = source }) end)
    end
  end)

  it("sends one more header, and none that is two", loop.test(function()
    open()
    assert(async.call(client, "request", { method = "POST", path = "/", header = "SOAPAction: \"a#b\"" }))
    assert.equal("\"a#b\"", seen[1].headers.soapaction)
    assert.has_error(function() client:request({ path = "/", header = "A: b\r\nC: d" }, function() end) end)
  end))
end)
