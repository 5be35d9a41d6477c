local loop = require("spec.support.loop")
local upnp_lab = require("spec.support.upnp_lab")

local FORWARD = "kube-vip.io/forwardUPNP"

-- An IPv6 internet behind the router, whose firewall forwards nothing inwards; a server on node1; a Service, not open.
local function prepare(it)
  it:on("router", "sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1")
  it:on("router", "ip", "address", "add", "fd99::1/64", "dev", "wan0", "nodad")
  it:on("inet", "ip", "address", "add", "fd99::2/64", "dev", "eth0", "nodad")
  it:on("inet", "ip", "-6", "route", "add", "default", "via", "fd99::1")
  it:start("node1", "socat", "TCP6-LISTEN:8080,fork,reuseaddr", "SYSTEM:echo by IPv6")
  it:service("web", { ipFamilies = { "IPv6" }, ipFamilyPolicy = "SingleStack",
    ports = { { port = 8080, protocol = "TCP" } } })
end

local function reach(it, host, ip)
  return it:on(host, "socat", "-u", ("TCP6:[%s]:8080,connect-timeout=2"):format(ip), "-").output
end

local function is_pierced(it)
  return it:on("router", "nft", "list", "chain", "inet", "filter", "miniupnpd").output:find("8080") ~= nil
end

describe("a pinhole", function()
  it("lets the internet reach an IPv6 VIP through the router's firewall, and is closed with the Service",
    upnp_lab.test(function(it, router)
      router:start()
      prepare(it)
      it:moonlb("node1", upnp_lab.ALONE)
      local ip = it:until_address("web")
      loop.until_true(function() return reach(it, "client", ip):find("by IPv6") end, 20, "an answer on the LAN")
      assert.not_matches("by IPv6", reach(it, "inet", ip))
      upnp_lab.patch(it, "web", { metadata = { annotations = { [FORWARD] = "true" } } })
      upnp_lab.until_said(it, "web", ("[%s]:8080/TCP -> 8080"):format(ip))
      assert.matches("by IPv6", reach(it, "inet", ip))
      it:delete("web")
      loop.until_true(function() return not is_pierced(it) end, 20, "the pinhole closed")
    end))

  it("is asked for at the link-local address of the router, where the default route says that",
    upnp_lab.test(function(it, router)
      router:start()
      prepare(it)
      local shown = it:on("router", "ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "link").output
      local gateway = assert(shown:match("(fe80::%x[%x:]*)"), shown)
      assert.equal(0, it:on("node1", "ip", "-6", "route", "replace", "default", "via", gateway, "dev", "eth0").code)
      it:moonlb("node1", { "--upnp-all", "--heartbeat", "false" })
      local ip = it:until_address("web")
      upnp_lab.until_said(it, "web", ("[%s]:8080/TCP -> 8080"):format(ip))
      assert.matches("by IPv6", reach(it, "inet", ip))
    end))
end)
