-- The manifests: rendered by kubectl, checked by the API server where it knows the kind, and that each name in them
-- leads somewhere.
local allocator = require("spec.support.allocator")
local kubernetes = require("spec.support.kubernetes")
local manifests = require("spec.support.manifests")
local program = require("spec.support.program")

local PATHS = { "moonlb.yaml", "base", "overlays/allocator-only", "overlays/announcer-only", "overlays/policies",
  "overlays/upnp" }
-- What the embedded API does not serve; a real one checks these, too.
local UNKNOWN = { ClusterRole = true, ClusterRoleBinding = true, Role = true, RoleBinding = true, DaemonSet = true }

local function workload(objects)
  return manifests.find(objects, "DaemonSet") or manifests.find(objects, "Deployment")
end

local function names(list)
  local set = {}
  for _, it in ipairs(list or {}) do set[it.name] = true end
  return set
end

local function each(what, body)
  for _, path in ipairs(PATHS) do
    it(path .. ": " .. what, kubernetes.test(function(c) body(c, manifests.render(c, path)) end))
  end
end

describe("manifests/", function()
  each("the API server takes every object (--dry-run=server)", function(c, objects)
    local known = {}
    for _, object in ipairs(objects) do
      if c.is_real or not UNKNOWN[object.kind] then known[#known + 1] = object end
    end
    assert.is_true(#known > 0)
    manifests.apply(c, known, "--dry-run=server")
  end)

  each("what is named is there", function(_, objects)
    local accounts, roles = {}, {}
    for _, object in ipairs(objects) do
      local metadata = object.metadata
      if object.kind == "ServiceAccount" then accounts[metadata.namespace .. "/" .. metadata.name] = true end
      if object.rules then roles[object.kind .. "/" .. metadata.name] = true end
    end
    for _, object in ipairs(objects) do
      if object.roleRef then
        assert.is_true(roles[object.roleRef.kind .. "/" .. object.roleRef.name])
        for _, it in ipairs(object.subjects) do assert.is_true(accounts[it.namespace .. "/" .. it.name]) end
      end
    end
    local it = workload(objects)
    local pod = it.spec.template
    assert.same(it.spec.selector.matchLabels, pod.metadata.labels)
    assert.is_true(accounts[it.metadata.namespace .. "/" .. pod.spec.serviceAccountName])
    local container = pod.spec.containers[1]
    assert.same(names(pod.spec.volumes), names(container.volumeMounts))
    local ports = names(container.ports)
    assert.is_true(ports[container.livenessProbe.httpGet.port] and ports[container.readinessProbe.httpGet.port])
  end)

  each("the Pod can do little harm", function(_, objects)
    local pod = workload(objects).spec.template.spec
    local context = pod.containers[1].securityContext
    assert.equal("RuntimeDefault", pod.securityContext.seccompProfile.type)
    assert.is_false(context.allowPrivilegeEscalation)
    assert.is_true(context.readOnlyRootFilesystem)
    assert.same({ "ALL" }, context.capabilities.drop)
    assert.is_nil(context.privileged)
    assert.same(pod.hostNetwork and { "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SYS_NICE" } or nil,
      context.capabilities.add)
    assert.equal(not pod.hostNetwork or nil, pod.securityContext.runAsNonRoot)
  end)

  each("the image's version and the flags are the binary's", function(_, objects)
    local container = workload(objects).spec.template.spec.containers[1]
    local version = program.run(program.moonlb(), { "version" }).stdout:match("^moonlb (%S+)")
    assert.equal("localhost/moonlb:" .. version, container.image)
    local arguments = table.move(container.args, 1, #container.args, 1, {})
    arguments[#arguments + 1] = "--help"
    local help = program.run(program.moonlb(), arguments)
    assert.equal(0, help.code, help.stderr)
  end)

  it("moonlb.yaml is the base", function()
    local function read(path)
      local file <close> = assert(io.open(path, "rb"))
      return file:read("a")
    end
    assert.equal(read("manifests/base/moonlb.yaml"), read("manifests/moonlb.yaml"))
  end)

  it("overlays/policies: its policy passes its own tests", kubernetes.test(function()
    local result = program.run(program.moonlb(), { "policy", "test", "manifests/overlays/policies/by-team.lua" })
    assert.equal(0, result.code, result.stdout .. result.stderr)
    assert.matches("3 passed, 0 failed", result.stdout)
  end))
end)

-- A Service as kube-vip and its cloud provider leave it: in use, outside and inside of the pools.
local TAKEN_OVER = [[
apiVersion: v1
kind: Service
metadata:
  name: %s
  namespace: %s
  labels: {implementation: kube-vip}
  annotations: {kube-vip.io/loadbalancerIPs: %s, kube-vip.io/vipHost: old-node}
  finalizers: [service.kubernetes.io/load-balancer-cleanup]
spec: {type: LoadBalancer, loadBalancerIP: %s, allocateLoadBalancerNodePorts: false, ports: [{port: 80}]}
]]

describe("after kube-vip", function()
  it("every Service keeps its address, none is given twice, and a deletion ends", kubernetes.test(function(c)
    local ns = c:namespace()
    local addresses = { inside = "10.77.0.1", outside = "192.0.2.7" }
    for name, address in pairs(addresses) do c:apply(TAKEN_OVER:format(name, ns, address, address)) end
    allocator.configure(c, ns, { ["cidr-" .. ns] = "10.77.0.0/29" })
    allocator.start(c, ns)
    allocator.service(c, ns, "new")
    allocator.expect(c, ns, "new", "10.77.0.2", "namespace_pool")
    for name, address in pairs(addresses) do
      assert.equal(address, allocator.address(c, ns, name))
      assert.equal(address .. " old-node", (c:run("-n", ns, "get", "svc", name, "-o", "jsonpath={.metadata.annotations"
        .. [[.kube-vip\.io/loadbalancerIPs} {.metadata.annotations.kube-vip\.io/vipHost}]])))
    end
    c:run("-n", ns, "delete", "svc", "inside", "--timeout=20s")
  end))
end)
