local gateway = require("spec.support.gateway")
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")

local FORWARD = "kube-vip.io/forwardUPNP"
local PORTS = "moonlb.io/upnp-ports"
local RUN = { "--upnp", "--heartbeat", "false" }

local function with_gateway(body, options)
  return lab.test(function(it)
    local router = gateway.new(it)
    local ok, err = pcall(body, it, router)
    router:down()
    if not ok then error(err, 0) end
  end, options or { timeout = 120 })
end

local function annotation(it, name)
  local service = it:get(name)
  return service and (service.metadata.annotations or {})["moonlb.io/upnp"]
end

describe("a port on the router", function()
  it("leads to the VIP from the internet, on a gateway in secure mode, and is said", with_gateway(function(it, router)
    router:start()
    it:service("web", nil, { [FORWARD] = "true", [PORTS] = "80=32380" })
    it:moonlb("node1", RUN)
    local ip = it:until_address("web")
    router:until_mapped({ ("TCP 32380 %s:80"):format(ip) })
    assert.same({ ("32380 -> %s:80"):format(ip) }, router:rules())
    assert.matches("hello from node1", router:curl(32380))
    loop.until_true(function() return annotation(it, "web") == "192.0.3.1:32380/TCP -> 80" end, 10, "annotation")
    loop.until_true(function() return it:has_event("web", "PortMapped", "192.0.3.1:32380/TCP leads to port 80") end, 10,
      "Event")
  end))
end)
