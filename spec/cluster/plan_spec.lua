--- `moonlb plan` of a live cluster: the binary against an API server.
local cjson = require("cjson")
local kubernetes = require("spec.support.kubernetes")
local program = require("spec.support.program")

local function plan(c, ...)
  return program.run(program.moonlb(), { "plan", "--kubeconfig", c.kubeconfig, ... })
end

local function manifest(namespace)
  return ([[
apiVersion: v1
kind: ConfigMap
metadata: {name: moonlb-plan, namespace: %s}
data: {cidr-%s: "198.51.100.0/30"}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: %s}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: wants, namespace: %s}
spec: {type: LoadBalancer, loadBalancerIP: 198.51.100.1, ports: [{port: 80}]}
]]):format(namespace, namespace, namespace, namespace)
end

describe("moonlb plan of a live cluster", function()
  it("reads Services, Nodes and the ConfigMap, and changes nothing", kubernetes.test(function(c)
    local namespace = c:namespace()
    c:apply(manifest(namespace))
    local before = c:run("-n", namespace, "get", "svc", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
    local result = plan(c, "--configmap", "moonlb-plan", "--configmap-namespace", namespace, "-o", "json")
    assert.equal("", result.stderr)
    local found = {}
    for _, decision in ipairs(cjson.decode(result.stdout).decisions) do
      if decision.namespace == namespace then found[decision.name] = decision end
    end
    assert.same({ "static", { "198.51.100.1" } }, { found.wants.action, found.wants.addresses })
    assert.same({ "assign", { "198.51.100.2" }, "cidr-" .. namespace },
      { found.web.action, found.web.addresses, found.web.pool })
    local after = c:run("-n", namespace, "get", "svc", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
    assert.equal(before, after)
  end))

  it("says in one line that there is no kubeconfig, or that no server answers", kubernetes.test(function(c)
    local file = assert(io.open(c.kubeconfig))
    local dead = c.home .. "/dead"
    local copy = assert(io.open(dead, "w"))
    copy:write((file:read("a"):gsub("https?://[%w.:%[%]]+", "http://127.0.0.1:1")))
    copy:close()
    file:close()
    for path, what in pairs({ [c.home .. "/none"] = "kubeconfig", [dead] = "127.0.0.1" }) do
      local result = program.run(program.moonlb(), { "plan", "--kubeconfig", path })
      assert.same({ 2, "" }, { result.code, result.stdout })
      assert.equal(1, select(2, result.stderr:gsub("\n", "")), result.stderr)
      assert.truthy(result.stderr:find(what, 1, true), result.stderr)
    end
  end))
end)
