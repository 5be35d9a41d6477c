local loop = require("spec.support.loop")
local upnp_lab = require("spec.support.upnp_lab")

local test, ALONE = upnp_lab.test, upnp_lab.ALONE
-- miniupnpd without its UPnP: what remains answers PCP and NAT-PMP on UDP 5351.
-- Its epoch is its own, not the system's: it is what restarts here.
local WITHOUT_UPNP = { enable_upnp = "no", enable_natpmp = "yes", system_uptime = "no" }

local function until_rules(router, rules, seconds)
  loop.until_true(function() return table.concat(router:rules(), ", ") == table.concat(rules, ", ") end, seconds or 30,
    "rules: " .. table.concat(rules, ", "))
end

describe("a router that speaks no UPnP", function()
  it("is asked by PCP: opened, published, reachable, closed with the Service and at a clean stop",
    test(function(it, router)
      router:start(WITHOUT_UPNP)
      upnp_lab.service(it, "web", "80=32380")
      upnp_lab.service(it, "api", "80=32381")
      local node = it:moonlb("node1", ALONE)
      local ip, other = it:until_address("web"), it:until_address("api")
      until_rules(router, { ("32380 -> %s:80"):format(ip), ("32381 -> %s:80"):format(other) })
      assert.matches("gateway found[^\n]*service=PCP", it.output.node1)
      assert.matches("hello from node1", router:curl(32380))
      upnp_lab.until_said(it, "web", "192.0.3.1:32380/TCP -> 80")
      it:delete("api")
      until_rules(router, { ("32380 -> %s:80"):format(ip) })
      it:signal(node, "sigterm")
      assert(node:wait(10))
      until_rules(router, {})
    end))

  it("that restarted gets everything anew, by its epoch (RFC 6887 section 8.5)", test(function(it, router)
    router:start(WITHOUT_UPNP)
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", ALONE)
    local ip = it:until_address("web")
    until_rules(router, { ("32380 -> %s:80"):format(ip) })
    -- Clocks may drift by two seconds: what restarts sooner is the same router.
    loop.until_true(function()
      local epoch = it:on("client", "natpmpc", "-g", "10.77.0.1").output:match("epoch = (%d+)")
      return epoch and tonumber(epoch) > 8
    end, 30, "an epoch to be lost")
    router:stop(true)
    router:start(WITHOUT_UPNP)
    until_rules(router, { ("32380 -> %s:80"):format(ip) }, 40)
  end))

  it("that gave the port to somebody else says so, unless another port will do", test(function(it, router)
    router:start(WITHOUT_UPNP)
    it:on("client", "natpmpc", "-g", "10.77.0.1", "-a", "32380", "8000", "tcp", "600")
    until_rules(router, { "32380 -> 10.77.0.250:8000" })
    upnp_lab.service(it, "web", "80=32380")
    it:moonlb("node1", ALONE)
    it:until_address("web")
    upnp_lab.until_event(it, "web", "PortMapFailed", "port 32380 is mapped to somebody else")
    assert.same({ "32380 -> 10.77.0.250:8000" }, router:rules())
  end))
end)
