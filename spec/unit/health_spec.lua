-- /healthz: what the kubelet kills a Pod for.
local http = require("spec.support.http")
local loop = require("spec.support.loop")
local runtime = require("moonlb.core.runtime")
local server = require("moonlb.daemon.server")

-- `body(server, ask)`; the pulse says of itself what `pulse.muted` is.
local function with_server(body)
  return loop.test(function()
    local pulse = { muted = false }
    local it_is = assert(server.start({ settings = { listen = "127.0.0.1", port = 0 },
      announcer = { pulse = { stats = function() return pulse end } } }))
    it_is.http = assert(require("moonlb.core.httpd").listen({ port = 0 }, function(request, response)
      it_is:answer(request, response)
    end))
    local function ask()
      local url = ("http://127.0.0.1:%d/healthz"):format(it_is.http:port())
      return http.curl("-w", "%{http_code}", url):wait(20).out
    end
    local ok, err = pcall(body, it_is, ask, pulse)
    it_is:close()
    if not ok then error(err, 0) end
  end)
end

describe("/healthz", function()
  it("is well while timers come in time", with_server(function(_, ask)
    assert.equal("ok\n200", ask())
  end))

  it("is ill when the loop was late, and when the timer that looks does not come at all", with_server(
    function(it_is, ask)
      it_is.lag = 7
      assert.equal("the loop was 7.0 s late\n503", ask())
      it_is.lag, it_is.due = 0, runtime.boottime() - 60
      assert.matches("^the loop was 60%.%d s late\n503$", ask())
    end))

  it("is ill when the thread that answers stays mute, not when it was so for a moment", with_server(
    function(it_is, ask, pulse)
      pulse.muted = "gap"
      loop.until_true(function() return it_is.mute_since end, 5, "seen to be mute")
      assert.equal("ok\n200", ask())
      it_is.mute_since = runtime.boottime() - 30
      assert.matches("^nothing is answered for 3%d s.*503$", ask())
      pulse.muted = false
      loop.until_true(function() return not it_is.mute_since end, 5, "seen to answer")
      assert.equal("ok\n200", ask())
    end))
end)
