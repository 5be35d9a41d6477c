-- The stock kubectl against an API server: the embedded one, or a real one (make conformance).
local cjson = require("cjson")

local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")

local function service(name, more)
  return ([[
apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]
%s]]):format(name, more or "")
end

local function object(c, ...)
  return cjson.decode((c:run("get", "-o", "json", ...)))
end

describe("kubectl get", function()
  it("prints the server's columns", kubernetes.test(function(c)
    local ns = c:namespace()
    c:run("-n", ns, "create", "service", "loadbalancer", "web", "--tcp=80:8080")
    local narrow = c:run("-n", ns, "get", "svc")
    assert.matches("NAME +TYPE +CLUSTER%-IP +EXTERNAL%-IP +PORT%(S%) +AGE\n", narrow)
    assert.matches("web +LoadBalancer +%S+ +<pending> +80:%d+/TCP +%d+s\n", narrow)
    local wide = c:run("-n", ns, "get", "svc", "web", "-o", "wide")
    assert.matches("AGE +SELECTOR\n", wide)
    assert.matches("app=web\n", wide)
    assert.matches("NAMESPACE +NAME", (c:run("get", "svc", "-A")))
  end))

  it("lists in chunks, by label and by field", kubernetes.test(function(c)
    local ns = c:namespace()
    for _, name in ipairs({ "a", "b", "c", "d", "e" }) do
      c:run("-n", ns, "create", "configmap", "spec-" .. name)
    end
    c:run("-n", ns, "label", "configmap", "spec-b", "spec-d", "tier=x")
    assert.equal("configmap/spec-a\nconfigmap/spec-b\nconfigmap/spec-c\nconfigmap/spec-d\nconfigmap/spec-e\n",
      (c:run("-n", ns, "get", "cm", "--chunk-size=2", "-o", "name")))
    assert.equal("configmap/spec-b\nconfigmap/spec-d\n",
      (c:run("-n", ns, "get", "cm", "-l", "tier in (x,y)", "-o", "name")))
    assert.equal("configmap/spec-c\n",
      (c:run("-n", ns, "get", "cm", "--field-selector=metadata.name=spec-c", "-o", "name")))
    local code, _, err = c:kubectl("-n", ns, "get", "svc", "--field-selector=spec.type=LoadBalancer")
    assert.equal(1, code)
    assert.matches("not a known field selector", err)
  end))

  it("says what is not there", kubernetes.test(function(c)
    local ns = c:namespace()
    local code, _, err = c:kubectl("-n", ns, "get", "svc", "nope")
    assert.equal(1, code)
    assert.equal('Error from server (NotFound): services "nope" not found\n', err)
    code, _, err = c:kubectl("get", "unicorns")
    assert.equal(1, code)
    assert.matches('doesn\'t have a resource type "unicorns"', err)
  end))

  it("shows changes as they come with -w", kubernetes.test(function(c)
    local ns = c:namespace()
    local watch = c:spawn("-n", ns, "get", "svc", "-w", "-o", "jsonpath={.metadata.name} {.metadata.labels.x}{'\\n'}")
    -- The watch has no sign of being open; a change is repeated until it is seen.
    local n = 0
    c:run("-n", ns, "create", "service", "loadbalancer", "seen", "--tcp=80")
    loop.until_true(function() return watch.out:find("seen", 1, true) end, 20, "the Service in the watch")
    while not watch.out:find("seen v%d") and n < 5 do
      n = n + 1
      c:run("-n", ns, "label", "--overwrite", "svc", "seen", "x=v" .. n)
    end
    loop.until_true(function() return watch.out:find("seen v%d") end, 20, "the label in the watch")
  end))
end)

describe("kubectl create", function()
  it("makes what its generators make", kubernetes.test(function(c)
    local ns = c:namespace()
    c:run("-n", ns, "create", "configmap", "spec-cm", "--from-literal=range=10.0.0.1-10.0.0.9")
    assert.equal("10.0.0.1-10.0.0.9", object(c, "-n", ns, "cm", "spec-cm").data.range)
    c:run("-n", ns, "create", "secret", "generic", "s", "--from-literal=k=value")
    assert.equal("dmFsdWU=", object(c, "-n", ns, "secret", "s").data.k)
    c:run("-n", ns, "create", "serviceaccount", "sa")
    c:run("-n", ns, "create", "service", "loadbalancer", "lb", "--tcp=80:8080", "--tcp=443:http")
    local spec = object(c, "-n", ns, "svc", "lb").spec
    assert.equal("LoadBalancer", spec.type)
    assert.equal(8080, spec.ports[1].targetPort)
    assert.equal("http", spec.ports[2].targetPort)
    assert.is_true(spec.ports[1].nodePort >= 30000)
    c:run("-n", ns, "create", "service", "clusterip", "ci", "--tcp=80")
    c:run("-n", ns, "create", "service", "nodeport", "np", "--tcp=80")
    c:run("-n", ns, "create", "service", "externalname", "en", "--external-name=example.com")
    assert.equal("example.com", object(c, "-n", ns, "svc", "en").spec.externalName)
    c:run("-n", ns, "create", "deployment", "d", "--image=nginx")
  end))

  it("makes a token of a ServiceAccount", kubernetes.test(function(c)
    c:needs_client(24)
    local ns = c:namespace()
    c:run("-n", ns, "create", "serviceaccount", "sa")
    assert.matches("^%S+%s*$", (c:run("-n", ns, "create", "token", "sa")))
  end))

  it("refuses what exists, and what is invalid, in the server's words", kubernetes.test(function(c)
    local ns = c:namespace()
    local code, _, err = c:kubectl("create", "ns", ns)
    assert.equal(1, code)
    assert.matches('namespaces "' .. ns:gsub("%-", "%%-") .. '" already exists', err)
    code, _, err = c:kubectl("-n", ns, "create", "-f", "-", { stdin = service("B_8") })
    assert.equal(1, code)
    assert.matches('The Service "B_8" is invalid: metadata.name: Invalid value: "B_8": a DNS%-1035 label', err)
    code, _, err = c:kubectl("-n", "nowhere", "create", "configmap", "x")
    assert.equal(1, code)
    assert.matches('namespaces "nowhere" not found', err)
  end))

  it("with --dry-run=server stores nothing", kubernetes.test(function(c)
    local ns = c:namespace()
    c:run("-n", ns, "create", "service", "loadbalancer", "dry", "--tcp=80", "--dry-run=server")
    assert.equal(1, (c:kubectl("-n", ns, "get", "svc", "dry")))
    c:run("-n", ns, "create", "configmap", "wet")
    c:run("-n", ns, "delete", "configmap", "wet", "--dry-run=server")
    c:run("-n", ns, "get", "configmap", "wet")
  end))

  it("-f refuses a field that does not exist", kubernetes.test(function(c)
    c:needs("strict")
    c:needs_client(27)
    local ns = c:namespace()
    local code, _, err = c:kubectl("-n", ns, "create", "-f", "-", { stdin = service("x", "  bogus: 1\n") })
    assert.equal(1, code)
    assert.matches('strict decoding error: unknown field "spec.bogus"', err)
    code, _, err = c:kubectl("-n", ns, "create", "--validate=warn", "-f", "-", { stdin = service("x", "  bogus: 1\n") })
    assert.equal(0, code)
    assert.matches('Warning: unknown field "spec.bogus"', err)
  end))
end)

describe("kubectl apply", function()
  it("the second time says unchanged, and a change is a strategic merge", kubernetes.test(function(c)
    local ns = c:namespace()
    assert.matches("service/web created", (c:apply(service("web"), "-n", ns)))
    local before = object(c, "-n", ns, "svc", "web")
    assert.matches("service/web unchanged", (c:apply(service("web"), "-n", ns)))
    assert.equal(before.metadata.resourceVersion, object(c, "-n", ns, "svc", "web").metadata.resourceVersion)
    local changed = service("web"):gsub("targetPort: 8080", "targetPort: 9090")
    assert.matches("service/web configured", (c:apply(changed, "-n", ns)))
    local after = object(c, "-n", ns, "svc", "web")
    assert.equal(9090, after.spec.ports[1].targetPort)
    assert.equal(before.spec.ports[1].nodePort, after.spec.ports[1].nodePort)
    assert.equal(before.spec.clusterIP, after.spec.clusterIP)
  end))

  it("--server-side creates and changes", kubernetes.test(function(c)
    local ns = c:namespace()
    assert.matches("serverside%-applied", (c:apply(service("web"), "-n", ns, "--server-side")))
    local changed = service("web"):gsub("targetPort: 8080", "targetPort: 9090")
    assert.matches("serverside%-applied", (c:apply(changed, "-n", ns, "--server-side")))
    local spec = object(c, "-n", ns, "svc", "web").spec
    assert.equal(1, #spec.ports)
    assert.equal(9090, spec.ports[1].targetPort)
  end))

  it("refuses a field that does not exist, new and changed", kubernetes.test(function(c)
    local ns = c:namespace()
    for _ = 1, 2 do
      local code, _, err = c:kubectl("-n", ns, "apply", "-f", "-", { stdin = service("web", "  selectr: {a: b}\n") })
      assert.equal(1, code)
      assert.matches('unknown field "[%w.]*selectr"', err) -- said by the server, or by kubectl before 1.27
      c:apply(service("web"), "-n", ns)
    end
  end))

  it("diff shows what would change, and changes nothing", kubernetes.test(function(c)
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    local changed = service("web"):gsub("targetPort: 8080", "targetPort: 9090")
    local code, out = c:kubectl("-n", ns, "diff", "-f", "-", { stdin = changed })
    assert.equal(1, code)
    assert.matches("%-    targetPort: 8080\n%+    targetPort: 9090\n", out)
    assert.equal(0, (c:kubectl("-n", ns, "diff", "-f", "-", { stdin = service("web") })))
  end))
end)

describe("kubectl replace", function()
  it("keeps the cluster address it does not send", kubernetes.test(function(c)
    c:needs("keeps_cluster_ip")
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    local before = object(c, "-n", ns, "svc", "web").spec.clusterIP
    local changed = service("web"):gsub("targetPort: 8080", "targetPort: 9090")
    c:run("-n", ns, "replace", "-f", "-", { stdin = changed })
    local after = object(c, "-n", ns, "svc", "web").spec
    assert.equal(before, after.clusterIP)
    assert.equal(9090, after.ports[1].targetPort)
  end))
end)

describe("kubectl patch", function()
  it("takes strategic, merge and JSON patches", kubernetes.test(function(c)
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    c:run("-n", ns, "patch", "svc", "web", "-p", '{"spec":{"ports":[{"name":"dns","port":53,"protocol":"UDP"}]}}')
    assert.equal(2, #object(c, "-n", ns, "svc", "web").spec.ports)
    c:run("-n", ns, "patch", "svc", "web", "--type=merge", "-p", '{"spec":{"loadBalancerIP":"10.1.2.3"}}')
    assert.equal("10.1.2.3", object(c, "-n", ns, "svc", "web").spec.loadBalancerIP)
    c:run("-n", ns, "patch", "svc", "web", "--type=json", "-p",
      '[{"op":"test","path":"/spec/loadBalancerIP","value":"10.1.2.3"},{"op":"remove","path":"/spec/loadBalancerIP"}]')
    assert.is_nil(object(c, "-n", ns, "svc", "web").spec.loadBalancerIP)
    assert.equal(1, (c:kubectl("-n", ns, "patch", "svc", "web", "--type=json", "-p",
      '[{"op":"test","path":"/spec/type","value":"x"}]')))
  end))

  it("refuses a stale resourceVersion", kubernetes.test(function(c)
    local ns = c:namespace()
    c:run("-n", ns, "create", "configmap", "spec-cm")
    local code, _, err = c:kubectl("-n", ns, "patch", "cm", "spec-cm", "--type=merge", "-p",
      '{"metadata":{"resourceVersion":"1"},"data":{"a":"b"}}')
    assert.equal(1, code)
    assert.matches("the object has been modified", err)
  end))

  it("--subresource=status takes status and metadata, not spec", kubernetes.test(function(c)
    c:needs_client(24)
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    c:run("-n", ns, "patch", "svc", "web", "--subresource=status", "--type=merge", "-p",
      '{"metadata":{"annotations":{"a":"b"}},"spec":{"loadBalancerIP":"9.9.9.9"},'
        .. '"status":{"loadBalancer":{"ingress":[{"ip":"10.1.2.3"}]}}}')
    local found = object(c, "-n", ns, "svc", "web")
    assert.equal("10.1.2.3", found.status.loadBalancer.ingress[1].ip)
    assert.equal("b", found.metadata.annotations.a)
    assert.is_nil(found.spec.loadBalancerIP)
    c:run("-n", ns, "patch", "svc", "web", "--type=merge", "-p", '{"status":{"loadBalancer":null}}')
    assert.equal("10.1.2.3", object(c, "-n", ns, "svc", "web").status.loadBalancer.ingress[1].ip)
    assert.matches("LoadBalancer +%S+ +10%.1%.2%.3 ", (c:run("-n", ns, "get", "svc", "web")))
  end))

  it("an ingress address of a LoadBalancer gets the mode VIP", kubernetes.test(function(c)
    c:needs("ipmode")
    c:needs_client(24)
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    c:run("-n", ns, "patch", "svc", "web", "--subresource=status", "--type=merge", "-p",
      '{"status":{"loadBalancer":{"ingress":[{"ip":"10.1.2.3"}]}}}')
    assert.equal("VIP", object(c, "-n", ns, "svc", "web").status.loadBalancer.ingress[1].ipMode)
  end))

  it("a load balancer class cannot be changed", kubernetes.test(function(c)
    c:needs("loadbalancerclass")
    local ns = c:namespace()
    c:apply(service("web", "  loadBalancerClass: example.com/a\n"), "-n", ns)
    local code, _, err = c:kubectl("-n", ns, "patch", "svc", "web", "-p",
      '{"spec":{"loadBalancerClass":"example.com/b"}}')
    assert.equal(1, code)
    assert.matches("may not change once set", err)
  end))
end)

describe("kubectl edit, label, annotate", function()
  it("change an object", kubernetes.test(function(c)
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    c:run("-n", ns, "edit", "svc", "web", { env = { EDITOR = "sed -i s/8080/7070/" } })
    assert.equal(7070, object(c, "-n", ns, "svc", "web").spec.ports[1].targetPort)
    c:run("-n", ns, "label", "svc", "web", "tier=front")
    c:run("-n", ns, "annotate", "svc", "web", "note=hello there")
    local metadata = object(c, "-n", ns, "svc", "web").metadata
    assert.equal("front", metadata.labels.tier)
    assert.equal("hello there", metadata.annotations.note)
    c:run("-n", ns, "label", "svc", "web", "tier-")
    assert.is_nil((object(c, "-n", ns, "svc", "web").metadata.labels or {}).tier)
  end))
end)

describe("kubectl delete", function()
  it("returns when the object is gone", kubernetes.test(function(c)
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    c:run("-n", ns, "delete", "svc", "web")
    assert.equal(1, (c:kubectl("-n", ns, "get", "svc", "web")))
    c:run("-n", ns, "create", "configmap", "spec-1")
    c:run("-n", ns, "create", "configmap", "spec-2")
    c:run("-n", ns, "delete", "configmap", "spec-1", "spec-2")
    assert.equal(1, (c:kubectl("-n", ns, "get", "cm", "spec-1")))
  end))

  it("waits for a finalizer", kubernetes.test(function(c)
    local ns = c:namespace()
    c:run("-n", ns, "create", "configmap", "spec-held")
    c:run("-n", ns, "patch", "cm", "spec-held", "--type=merge", "-p",
      '{"metadata":{"finalizers":["example.com/held"]}}')
    local deletion = c:spawn("-n", ns, "delete", "cm", "spec-held")
    loop.until_true(function()
      return object(c, "-n", ns, "cm", "spec-held").metadata.deletionTimestamp
    end, 20, "deletionTimestamp")
    assert.is_nil(deletion.code)
    c:run("-n", ns, "patch", "cm", "spec-held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert.equal(0, deletion:wait(20).code)
  end))
end)

describe("kubectl wait", function()
  it("sees a field appear", kubernetes.test(function(c)
    c:needs_client(24)
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    local wait = c:spawn("-n", ns, "wait", "--for=jsonpath={.status.loadBalancer.ingress[0].ip}=10.1.2.3", "svc/web",
      "--timeout=30s")
    c:run("-n", ns, "patch", "svc", "web", "--subresource=status", "--type=merge", "-p",
      '{"status":{"loadBalancer":{"ingress":[{"ip":"10.1.2.3"}]}}}')
    assert.equal(0, wait:wait(30).code)
    assert.matches("condition met", wait.out)
  end))

  it("sees a deletion", kubernetes.test(function(c)
    local ns = c:namespace()
    c:run("-n", ns, "create", "configmap", "spec-cm")
    -- Older clients call a thing that is gone before they look an error: -v=6 shows when the watch begins.
    local wait = c:spawn("-n", ns, "wait", "--for=delete", "cm/spec-cm", "--timeout=30s", "-v=6")
    loop.until_true(function() return wait.err:find("watch=true", 1, true) end, 20, "kubectl watches")
    c:run("-n", ns, "delete", "cm", "spec-cm")
    assert.equal(0, wait:wait(30).code)
  end))
end)

describe("kubectl describe, events", function()
  local function event(ns, uid)
    return ([[{"apiVersion":"v1","kind":"Event","metadata":{"name":"web.1","namespace":"%s"},"type":"Normal",
      "reason":"AddressAssigned","message":"10.1.2.3 from the pool","count":1,"source":{"component":"moonlb"},
      "firstTimestamp":"2026-01-02T03:04:05Z","lastTimestamp":"2026-01-02T03:04:05Z",
      "involvedObject":{"kind":"Service","apiVersion":"v1","namespace":"%s","name":"web","uid":"%s"}}]])
      :format(ns, ns, uid)
  end

  it("show an Event of the Service", kubernetes.test(function(c)
    local ns = c:namespace()
    c:apply(service("web"), "-n", ns)
    c:run("-n", ns, "create", "-f", "-", { stdin = event(ns, object(c, "-n", ns, "svc", "web").metadata.uid) })
    local described = c:run("-n", ns, "describe", "svc", "web")
    assert.matches("Type: +LoadBalancer\n", described)
    assert.matches("Normal +AddressAssigned +.- moonlb +10%.1%.2%.3 from the pool", described)
    assert.matches("AddressAssigned +service/web +10%.1%.2%.3", (c:run("-n", ns, "get", "events")))
  end))

  it("describe the other kinds", kubernetes.test(function(c)
    local ns = c:namespace()
    c:run("-n", ns, "create", "configmap", "spec-cm", "--from-literal=k=v")
    assert.matches("Data\n====\nk:\n", (c:run("-n", ns, "describe", "cm", "spec-cm")))
    assert.matches("Status: +Active\n", (c:run("describe", "ns", ns)))
  end))
end)

describe("kubectl expose, auth, discovery", function()
  it("expose makes a Service of a Deployment", kubernetes.test(function(c)
    local ns = c:namespace()
    c:run("-n", ns, "create", "deployment", "d", "--image=nginx")
    c:run("-n", ns, "expose", "deployment", "d", "--port=80", "--type=LoadBalancer")
    assert.same({ app = "d" }, object(c, "-n", ns, "svc", "d").spec.selector)
  end))

  it("auth can-i answers", kubernetes.test(function(c)
    assert.equal("yes\n", (c:run("auth", "can-i", "create", "services")))
  end))

  it("auth whoami answers", kubernetes.test(function(c)
    c:needs("self_subject_review")
    c:needs_client(28)
    assert.matches("Username", (c:run("auth", "whoami")))
  end))

  it("lists the resources with their short names", kubernetes.test(function(c)
    local out = c:run("api-resources")
    assert.matches("services +svc +v1 +true +Service\n", out)
    assert.matches("leases +coordination.k8s.io/v1 +true +Lease\n", out)
    assert.matches("configmaps +cm +v1 +true +ConfigMap\n", out)
    assert.matches("coordination.k8s.io/v1\n", (c:run("api-versions")))
  end))
end)
