-- What the manifests grant is what moonlb asks for: nothing is missing, and nothing is granted that it never uses. It
-- runs with the ServiceAccount's own token (TokenRequest); judges are the API server's answers and its audit log.
local allocator = require("spec.support.allocator")
local cjson = require("cjson")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")
local manifests = require("spec.support.manifests")

-- Kubernetes' words for an answer 403: `nodes is forbidden: User ".." cannot list resource "nodes" in API group "" ..`
local FORBIDDEN = 'cannot (%w+) resource \\?"([^"\\]+)\\?" in API group \\?"([^"\\]*)\\?"'

local function said(moonlb) return moonlb.out .. moonlb.err end

-- `group/resource` (the core group has no name) of every refusal that moonlb's log tells.
local function refusals(moonlb)
  local found = {}
  for _, resource, group in said(moonlb):gmatch(FORBIDDEN) do found[group .. "/" .. resource] = true end
  return found
end

local function until_said(moonlb, text)
  loop.until_true(function() return said(moonlb):find(text, 1, true) end, 30, "moonlb says " .. text)
end

local LOCAL = [[
apiVersion: v1
kind: Service
metadata: {name: local, namespace: %s}
spec: {type: LoadBalancer, loadBalancerIP: 10.77.0.8, externalTrafficPolicy: Local, ports: [{port: 80}]}
]]

-- Give moonlb work of every kind that its start does not bring.
local function give_work(c, ns)
  allocator.service(c, ns, "web", { ip = "10.77.0.9" })
  c:apply(LOCAL:format(ns))
end

-- Another program takes the address away until moonlb has looked who it is: the one thing a Service is read for alone.
local function fight(c, ns)
  allocator.service(c, ns, "fought")
  allocator.expect(c, ns, "fought", "10.77.0.100", "global_pool")
  local function is_told() return c:run("-n", ns, "describe", "svc", "fought"):find("AllocatorConflict") end
  for i = 1, 12 do
    if is_told() then return end
    local wanted = "10.77.0." .. 120 + i
    c:run("-n", ns, "patch", "svc", "fought", "--type=merge", "--field-manager=other-ccm", "-p",
      ('{"metadata":{"annotations":{"kube-vip.io/loadbalancerIPs":%q}}}'):format(wanted))
    loop.until_true(function() return is_told() or allocator.address(c, ns, "fought") == wanted end, 20, "an answer")
  end
  allocator.described(c, ns, "fought", "AllocatorConflict")
end

-- The same words twice about one object: the second time the Event is counted up.
local function repeat_event(c, ns)
  for _ = 1, 2 do
    for _, bad in ipairs({ "10.77.0.100-10.77.0.119, 10.77.300.1", "10.77.0.100-10.77.0.119" }) do
      local events = c:run("-n", ns, "get", "events")
      allocator.configure(c, ns, { ["range-global"] = bad })
      loop.until_true(function()
        return not bad:find("300", 1, true) or c:run("-n", ns, "get", "events") ~= events
      end, 20, "an Event on the ConfigMap")
    end
  end
end

local function status_of(c, ns, name)
  return (c:run("-n", ns, "get", "svc", name, "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}"))
end

local function until_status(c, ns, name, address)
  loop.until_true(function() return status_of(c, ns, name) == address end, 30, name .. " has status " .. address)
end

local SLICE = [[
apiVersion: discovery.k8s.io/%s
kind: EndpointSlice
metadata: {name: local-1, namespace: %s, labels: {kubernetes.io/service-name: local}}
addressType: IPv4
ports: [{name: "", port: 80, protocol: TCP}]
endpoints: [{addresses: [10.244.0.9], conditions: {ready: true}, %s: %s}]
]]

-- The Service of externalTrafficPolicy Local gets an endpoint on the node: announced is it from then on.
local function give_endpoint(c, ns)
  if c.features.endpointslice_v1 then
    c:apply(SLICE:format("v1", ns, "nodeName", "node1"))
  else
    c:apply(SLICE:format("v1beta1", ns, "topology", "{kubernetes.io/hostname: node1}"))
  end
  until_status(c, ns, "local", "10.77.0.8")
end

-- A Service with an address in its status is no load balancer any more. (kubectl patches status from 1.24 on alone.)
local function empty_status(c, ns, name)
  local service = cjson.decode((c:run("-n", ns, "get", "svc", name, "-o", "json")))
  service.status.loadBalancer = { ingress = { { ip = "10.77.0.100" } } }
  c:run("replace", "--raw", ("/api/v1/namespaces/%s/services/%s/status"):format(ns, name), "-f", "-",
    { stdin = cjson.encode(service) })
  c:run("-n", ns, "patch", "svc", name, "--type=merge", "-p",
    '{"spec":{"type":"ClusterIP","allocateLoadBalancerNodePorts":null}}')
  until_status(c, ns, name, "")
end

-- As kube-vip's cloud provider leaves a Service.
local function kube_vip_gives(c, ns, name, address)
  c:run("-n", ns, "patch", "svc", name, "--type=merge", "-p", ('{"metadata":{"labels":{"implementation":"kube-vip"},'
    .. '"annotations":{"kube-vip.io/loadbalancerIPs":%q}}}'):format(address))
end

-- What the ServiceAccount was answered, from the audit log: set of "verb group/resource[/subresource]", and the 403s.
local function asked(ns)
  local all, refused = {}, {}
  for line in io.lines(os.getenv("MOONLB_AUDIT_LOG")) do
    local event = cjson.decode(line)
    local about = event.objectRef
    if about and event.user.username == ("system:serviceaccount:%s:moonlb"):format(ns) then
      local name = ("%s %s/%s%s"):format(event.verb, about.apiGroup or "", about.resource,
        about.subresource and "/" .. about.subresource or "")
      all[name] = true
      if event.responseStatus.code == 403 then refused[name] = true end
    end
  end
  return all, refused
end

-- The same form, from the rules.
local function granted(objects)
  local all = {}
  for _, object in ipairs(objects) do
    for _, it in ipairs(object.rules or {}) do
      for _, group in ipairs(it.apiGroups) do
        for _, resource in ipairs(it.resources) do
          for _, verb in ipairs(it.verbs) do all[("%s %s/%s"):format(verb, group, resource)] = true end
        end
      end
    end
  end
  return all
end

-- A test with the grants of a file or a rendered folder, in a namespace of its own. `change(objects)` is called before
-- they are applied.
local function with(path, arguments, change, body)
  return kubernetes.test(function(c)
    c:needs("rbac")
    local ns = c:namespace()
    local grants = manifests.grants(manifests.render(c, path), ns)
    change(grants)
    manifests.apply(c, grants)
    allocator.configure(c, ns, { ["range-global"] = "10.77.0.100-10.77.0.119" })
    local moonlb = manifests.run(c, ns, arguments)
    local ok, err = pcall(body, c, ns, moonlb, grants)
    moonlb.close()
    manifests.remove(c, ns)
    if not ok then error(err, 0) end
  end, 120)
end

local function nothing() end

-- Used is what is granted: both ways. A watch is in the audit log when it has ended, so moonlb ends first.
local function assert_exact(ns, moonlb, grants)
  assert.same({}, refusals(moonlb))
  moonlb.close()
  if not os.getenv("MOONLB_AUDIT_LOG") then return end
  local wanted = granted(grants)
  local function is_complete()
    local used = asked(ns)
    for name in pairs(wanted) do
      if not used[name] then return false end
    end
    return true
  end
  pcall(loop.until_true, is_complete, 5)
  local used, refused = asked(ns)
  assert.same({}, refused)
  assert.same(wanted, used)
end

describe("the ServiceAccount of manifests/moonlb.yaml", function()
  it("may do what the main flow needs, and nothing else", with("moonlb.yaml", {}, nothing, function(c, ns, moonlb,
    grants)
    until_said(moonlb, "msg=allocating")
    give_work(c, ns)
    until_status(c, ns, "web", "10.77.0.9")
    allocator.described(c, ns, "web", "Announcing")
    give_endpoint(c, ns)
    fight(c, ns)
    repeat_event(c, ns)
    empty_status(c, ns, "web")
    assert_exact(ns, moonlb, grants)
  end))

  it("of the overlay allocator-only serves allocating, and nothing else", with("overlays/allocator-only",
    { "--allocate" }, nothing, function(c, ns, moonlb, grants)
      until_said(moonlb, "msg=allocating")
      fight(c, ns)
      repeat_event(c, ns)
      allocator.service(c, ns, "web", { ip = "10.77.0.9" })
      allocator.expect(c, ns, "web", "10.77.0.9", "static")
      empty_status(c, ns, "web")
      assert_exact(ns, moonlb, grants)
    end))

  it("of the overlay announcer-only serves announcing, and nothing else", with("overlays/announcer-only",
    { "--announce" }, nothing, function(c, ns, moonlb, grants)
      until_said(moonlb, "announcer started")
      give_work(c, ns)
      for _, address in ipairs({ "10.77.0.9", "10.77.0.10", "10.77.0.9" }) do -- the third counts up the first's Event
        kube_vip_gives(c, ns, "web", address)
        until_status(c, ns, "web", address)
      end
      kube_vip_gives(c, ns, "local", "10.77.0.8")
      give_endpoint(c, ns)
      assert_exact(ns, moonlb, grants)
    end))
end)

-- Each rule taken away in turn: moonlb is refused, says for which resource, and goes on with the rest. The rule on the
-- Lease's name and the one on making it are two, and so for the Secret.
describe("without the rule on", function()
  local function without(role, index, resource)
    return with("moonlb.yaml", {}, function(objects)
      local rules = manifests.find(objects, role).rules
      local removed = table.remove(rules, index)
      assert.equal(resource, removed.apiGroups[1] .. "/" .. removed.resources[1])
    end, function(c, ns, moonlb)
      until_said(moonlb, "msg=\"moonlb started\"")
      give_work(c, ns)
      loop.until_true(function() return refusals(moonlb)[resource] end, 30, "moonlb is refused " .. resource)
      assert.same({ [resource] = true }, refusals(moonlb))
      assert.is_nil(moonlb.code)
    end)
  end

  for role, resources in pairs({
    ClusterRole = { "/services", "/services/status", "/nodes", "/namespaces", "discovery.k8s.io/endpointslices",
      "/events" },
    Role = { "/configmaps", "coordination.k8s.io/leases", "coordination.k8s.io/leases", "/secrets", "/secrets" },
  }) do
    for index, resource in ipairs(resources) do
      it(("%s (%s, rule %d), moonlb says what it may not"):format(resource, role, index),
        without(role, index, resource))
    end
  end
end)
