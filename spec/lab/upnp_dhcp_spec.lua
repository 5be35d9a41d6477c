local dhcp_lab = require("spec.support.dhcp_lab")
local gateway = require("spec.support.gateway")
local upnp_lab = require("spec.support.upnp_lab")

describe("a port on the router, of a DHCP Service", function()
  it("leads to the leased address, for 600 s at most, and is closed before the lease is given back",
    dhcp_lab.test("kea", { lease = 600 }, function(it)
      local router = gateway.new(it)
      router:start()
      it:moonlb("node1", upnp_lab.ALONE)
      local annotations = { ["kube-vip.io/forwardUPNP"] = "true", ["moonlb.io/upnp-ports"] = "32380" }
      for name, value in pairs(dhcp_lab.WANTED.annotations or {}) do annotations[name] = value end
      it:service("web", dhcp_lab.WANTED, annotations)
      local ip = dhcp_lab.until_leased(it, "web")
      router:until_mapped({ ("TCP 32380 %s:80"):format(ip) })
      local lease = router:list()[1].lease
      assert.is_true(lease > 0 and lease <= 600, "lease " .. lease)
      assert.matches("hello from node1", router:curl(32380))
      upnp_lab.until_said(it, "web", "192.0.3.1:32380/TCP -> 80")
      it:delete("web")
      router:until_mapped({})
      router:down()
    end))
end)
