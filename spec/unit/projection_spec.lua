local projection = require("moonlb.daemon.projection")

local function service(name, port, type)
  return { metadata = { name = name, namespace = "default", resourceVersion = "1", managedFields = {} },
    spec = { type = type or "LoadBalancer", ports = { { port = port, protocol = "TCP" } }, ipFamilies = { "IPv4" },
      selector = { app = name } }, status = { loadBalancer = {} } }
end

describe("projection.service", function()
  it("keeps a load balancer whole", function()
    local object = projection.service(service("a", 80))
    assert.same(service("a", 80), object)
  end)

  it("keeps parts that are alike once, and only those", function()
    local a, b, c = projection.service(service("a", 80)), projection.service(service("b", 80)),
      projection.service(service("c", 81))
    assert.equal(a.spec.ports, b.spec.ports)
    assert.equal(a.spec.ipFamilies, c.spec.ipFamilies)
    assert.are_not_equal(a.spec.ports, c.spec.ports)
    assert.equal(81, c.spec.ports[1].port)
  end)

  it("tells a number from its text", function()
    local a, b = projection.service(service("a", 80)), projection.service(service("b", "80"))
    assert.are_not_equal(a.spec.ports, b.spec.ports)
  end)

  it("keeps of any other Service what tells that it is there", function()
    local object = projection.service(service("a", 80, "ClusterIP"))
    assert.same({ metadata = { name = "a", namespace = "default", resourceVersion = "1" },
      spec = { type = "ClusterIP" }, status = { loadBalancer = {} } }, object)
  end)
end)
