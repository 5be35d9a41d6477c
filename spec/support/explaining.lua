-- Objects of a played cluster, and what `moonlb explain demo/web` says of them.
local assert = require("luassert")
local explain = require("moonlb.control.explain")
local facts = require("moonlb.control.explain.facts")
local fields = require("moonlb.allocator.fields")

local explaining = {}

--- A machine that is none of ours.
explaining.STRANGER = "02:00:00:00:00:99"

--- Data of the ConfigMap with a pool of two addresses.
explaining.POOL = { ["range-global"] = "10.0.0.100-10.0.0.101" }

function explaining.configmap(data)
  return { kind = "ConfigMap", metadata = { namespace = "kube-system", name = "kubevip" }, data = data }
end

function explaining.service(name, spec, annotations, more)
  local object = { metadata = { namespace = "demo", name = name, uid = "uid-" .. name,
    creationTimestamp = "2026-01-01T00:00:00Z", annotations = annotations or {} }, spec = spec or {} }
  object.spec.type = object.spec.type or "LoadBalancer"
  object.spec.ports = object.spec.ports or { { port = 80, protocol = "TCP" } }
  -- As the allocator writes it: an empty field beside it would be a wish for another address.
  local assigned = object.metadata.annotations[fields.ASSIGNED]
  if assigned and not object.spec.loadBalancerIP then
    object.metadata.annotations[fields.ADDRESSES] = assigned:match("^%S+")
  end
  for key, value in pairs(more or {}) do object.metadata[key] = value or nil end
  return object
end

function explaining.node(name, labels, annotations, is_ready)
  return { metadata = { name = name, labels = labels or {}, annotations = annotations or {} }, status = {
    addresses = { { type = "InternalIP", address = "10.0.0.2" } },
    conditions = { { type = "Ready", status = is_ready == false and "False" or "True" } } } }
end

-- What is said of demo/web when the API has these objects. `more` goes into the objects of `facts.of_objects`.
function explaining.of(services, data, settings, more)
  local objects = { services = services, nodes = { explaining.node("node1"), explaining.node("node2") },
    configmap = data and explaining.configmap(data) or nil, lease = { spec = { holderIdentity = "node1_1" } } }
  for key, value in pairs(more or {}) do objects[key] = value end
  settings = settings or {}
  settings.configmap = "kube-system/kubevip"
  local it = facts.of_objects("demo/web", objects, settings)
  return explain.report(it), it
end

-- One sentence: the Service, what is wrong, what to do.
function explaining.assert_says(code, wrong, fix, report)
  assert.equal(code, report.diagnosis, report.sentence)
  assert.is_truthy(report.wrong:find(wrong, 1, true), report.sentence)
  assert.is_truthy(report.remedy:find(fix, 1, true), report.sentence)
  assert.matches("^demo/web: [^\n]+%.$", report.sentence)
end

return explaining
