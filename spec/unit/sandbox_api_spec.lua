-- The embedded API without sockets: what each request is answered. Behaviour is kube-apiserver's unless a test says so.
local json = require("moonlb.sandbox.json")
local apis = require("moonlb.sandbox.api")
local routes = require("moonlb.sandbox.routes")

-- method, "path?query", body (a table is encoded), headers -> code, decoded body, headers
local function ask(api, method, target, body, headers)
  local path, query = target:match("^([^?]*)%??(.*)$")
  local all = { ["content-type"] = "application/json" }
  for name, value in pairs(headers or {}) do
    all[name] = value
  end
  if type(body) == "table" then
    body = json.encode(body)
  end
  local answer = routes.answer(api, routes.context({
    method = method, path = path, query = query ~= "" and query or nil, headers = all, body = body or "",
  }))
  local text = answer.body
  return answer.code, answer.headers["Content-Type"]:find("json", 1, true) and json.decode(text) or text, answer.headers
end

local SERVICES = "/api/v1/namespaces/default/services"
local CONFIGS = "/api/v1/namespaces/default/configmaps"

local function service(name, spec)
  spec = spec or {}
  spec.ports = spec.ports or json.list({ { port = 80 } })
  return { metadata = { name = name }, spec = spec }
end

local function config(name, data)
  return { metadata = { name = name }, data = data }
end

local function merge(api, target, change)
  return ask(api, "PATCH", target, change, { ["content-type"] = "application/merge-patch+json" })
end

local function causes(status)
  local list = {}
  for i, cause in ipairs(status.details.causes) do
    list[i] = cause.field .. ": " .. cause.message
  end
  return list
end

describe("the sandbox API", function()
  local api

  before_each(function()
    api = apis.new({ now = function() return 1767225600 end })
  end)

  describe("create", function()
    it("gives uid, creationTimestamp and resourceVersion, and no generation to a Service", function()
      local code, object = ask(api, "POST", CONFIGS, config("c", { a = "b" }))
      assert.equal(201, code)
      assert.matches("^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$", object.metadata.uid)
      assert.equal("2026-01-01T00:00:00Z", object.metadata.creationTimestamp)
      assert.equal(tostring(api.store.revision), object.metadata.resourceVersion)
      assert.is_nil(select(2, ask(api, "POST", SERVICES, service("s"))).metadata.generation)
    end)

    it("makes a name from generateName, and wants one of both", function()
      local _, object = ask(api, "POST", CONFIGS, { metadata = { generateName = "gen-" } })
      assert.matches("^gen%-[bcdfghjklmnpqrstvwxz2456789]+$", object.metadata.name)
      local code, status = ask(api, "POST", CONFIGS, { metadata = {} })
      assert.equal(422, code)
      assert.matches("name or generateName is required", status.message)
    end)

    it("refuses what exists, what has no namespace, and another kind", function()
      ask(api, "POST", CONFIGS, config("c"))
      local code, status = ask(api, "POST", CONFIGS, config("c"))
      assert.equal(409, code)
      assert.equal('configmaps "c" already exists', status.message)
      assert.equal("AlreadyExists", status.reason)
      assert.same({ name = "c", kind = "configmaps" }, status.details)
      assert.equal(404, (ask(api, "POST", "/api/v1/namespaces/none/configmaps", config("c"))))
      assert.equal(400, (ask(api, "POST", CONFIGS, { kind = "Service", apiVersion = "v1", metadata = { name = "x" } })))
      assert.equal(400, (ask(api, "POST", CONFIGS, { metadata = { name = "x", namespace = "other" } })))
      assert.equal(400, (ask(api, "POST", CONFIGS, "{bad")))
      assert.equal(415, (ask(api, "POST", CONFIGS, "x", { ["content-type"] = "text/plain" })))
      assert.equal(500, (ask(api, "POST", CONFIGS, { metadata = { name = "x", resourceVersion = "1" } })))
    end)

    it("refuses, warns of or ignores unknown fields, as fieldValidation says", function()
      local body = service("s", { bogus = 1 })
      local code, status = ask(api, "POST", SERVICES .. "?fieldValidation=Strict", body)
      assert.equal(400, code)
      assert.equal('Service in version "v1" cannot be handled as a Service: strict decoding error: '
        .. 'unknown field "spec.bogus"', status.message)
      local _, object, headers = ask(api, "POST", SERVICES, body)
      assert.is_nil(object.spec.bogus)
      assert.equal('299 - "unknown field \\"spec.bogus\\""', headers.Warning)
      body.metadata.name = "t"
      assert.is_nil(select(3, ask(api, "POST", SERVICES .. "?fieldValidation=Ignore", body)).Warning)
    end)

    it("with dryRun=All stores nothing and takes nothing", function()
      local before = api.store.revision
      local code, object = ask(api, "POST", SERVICES .. "?dryRun=All", service("s", { type = "LoadBalancer" }))
      assert.equal(201, code)
      assert.is_nil(object.metadata.resourceVersion)
      assert.equal(before, api.store.revision)
      assert.equal(object.spec.clusterIP, select(2, ask(api, "POST", SERVICES, service("t"))).spec.clusterIP)
      assert.equal(422, (ask(api, "POST", SERVICES .. "?dryRun=Foo", service("u"))))
    end)

    it("reads YAML", function()
      local code, object = ask(api, "POST", SERVICES,
        "metadata: {name: y}\nspec: {ports: [{port: 80}], externalIPs: []}\n",
        { ["content-type"] = "application/yaml" })
      assert.equal(201, code)
      assert.equal(80, object.spec.ports[1].targetPort)
      assert.equal("[]", json.encode(object.spec.externalIPs))
    end)
  end)

  describe("a Service", function()
    it("gets its defaults by type", function()
      local _, object = ask(api, "POST", SERVICES, service("a"))
      assert.equal('{"clusterIP":"10.96.0.2","clusterIPs":["10.96.0.2"],"internalTrafficPolicy":"Cluster",'
        .. '"ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack",'
        .. '"ports":[{"port":80,"protocol":"TCP","targetPort":80}],'
        .. '"sessionAffinity":"None","type":"ClusterIP"}', json.encode(object.spec))
      assert.equal('{"loadBalancer":{}}', json.encode(object.status))
      _, object = ask(api, "POST", SERVICES, service("b", { type = "LoadBalancer", externalTrafficPolicy = "Local" }))
      assert.is_true(object.spec.allocateLoadBalancerNodePorts)
      assert.is_true(object.spec.ports[1].nodePort >= 30000)
      assert.is_true(object.spec.healthCheckNodePort >= 30000)
      _, object = ask(api, "POST", SERVICES,
        service("c", { type = "LoadBalancer", allocateLoadBalancerNodePorts = false }))
      assert.is_nil(object.spec.ports[1].nodePort)
      _, object = ask(api, "POST", SERVICES, service("d", { ipFamilyPolicy = "PreferDualStack" }))
      assert.equal(2, #object.spec.clusterIPs)
      _, object = ask(api, "POST", SERVICES, service("e", { type = "ExternalName", externalName = "x.y" }))
      assert.is_nil(object.spec.clusterIP)
      _, object = ask(api, "POST", SERVICES, service("f", { clusterIP = "None", selector = { a = "b" } }))
      assert.same({ "None" }, { table.unpack(object.spec.clusterIPs) })
    end)

    it("is refused with the causes", function()
      local function refused(spec)
        local code, status = ask(api, "POST", SERVICES, service("x", spec))
        assert.equal(422, code)
        return causes(status)
      end
      assert.same({ "spec.ports: Required value" }, refused({ ports = json.list() }))
      assert.same({ "spec.ports[0].name: Required value", "spec.ports[1].name: Required value" },
        refused({ ports = json.list({ { port = 1 }, { port = 2 } }) }))
      assert.same({ 'spec.type: Unsupported value: "Foo": supported values: "ClusterIP", "ExternalName", '
        .. '"LoadBalancer", "NodePort"' }, refused({ type = "Foo" }))
      assert.same({ "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive" },
        refused({ ports = json.list({ { port = 0 } }) }))
      assert.matches("ExternalTrafficPolicy can only be set", refused({ externalTrafficPolicy = "Local" })[1])
      assert.matches("must be a list of IP ranges", refused({ type = "LoadBalancer",
        loadBalancerSourceRanges = json.list({ "10.0.0.0" }) })[1])
      assert.matches("not in the valid range", refused({ type = "NodePort",
        ports = json.list({ { port = 80, nodePort = 80 } }) })[1])
      assert.equal(201,
        (ask(api, "POST", SERVICES, service("x", { type = "LoadBalancer", loadBalancerIP = "bogus" }))))
    end)

    it("has its node port and cluster address to itself, until it is deleted", function()
      local fixed = {
        type = "NodePort", clusterIP = "10.96.7.7", ports = json.list({ { port = 80, nodePort = 31000 } }),
      }
      assert.equal(201, (ask(api, "POST", SERVICES, service("a", json.copy(fixed)))))
      local code, status = ask(api, "POST", SERVICES, service("b", json.copy(fixed)))
      assert.equal(422, code)
      assert.matches("already allocated", status.message)
      ask(api, "DELETE", SERVICES .. "/a")
      assert.equal(201, (ask(api, "POST", SERVICES, service("b", json.copy(fixed)))))
    end)

    it("runs out of node ports with a 500", function()
      api = apis.new({ node_ports = { first = 30000, last = 30001 } })
      for i = 1, 2 do
        assert.equal(201, (ask(api, "POST", SERVICES, service("s" .. i, { type = "NodePort" }))))
      end
      local code, status = ask(api, "POST", SERVICES, service("s3", { type = "NodePort" }))
      assert.equal(500, code)
      assert.matches("failed to allocate a nodePort: range is full", status.message)
    end)

    it("keeps what the server gave it when an update leaves it out", function()
      local _, before = ask(api, "POST", SERVICES, service("s", { type = "LoadBalancer" }))
      local code, after = ask(api, "PUT", SERVICES .. "/s",
        service("s", { type = "LoadBalancer", loadBalancerIP = "1.2.3.4" }))
      assert.equal(200, code)
      assert.equal(before.spec.clusterIP, after.spec.clusterIP)
      assert.equal(before.spec.ports[1].nodePort, after.spec.ports[1].nodePort)
      assert.equal("1.2.3.4", after.spec.loadBalancerIP)
    end)

    it("keeps its cluster address and class for life", function()
      ask(api, "POST", SERVICES, service("s", { type = "LoadBalancer", loadBalancerClass = "a/b" }))
      local code, status = merge(api, SERVICES .. "/s", { spec = { clusterIP = "10.96.9.9", clusterIPs = json.null } })
      assert.equal(422, code)
      assert.matches("may not change once set", status.message)
      assert.equal(422, (merge(api, SERVICES .. "/s", { spec = { loadBalancerClass = "c/d" } })))
    end)

    it("loses what its type had when the type goes; the status stays", function()
      ask(api, "POST", SERVICES, service("s", { type = "LoadBalancer", externalTrafficPolicy = "Local" }))
      merge(api, SERVICES .. "/s/status",
        { status = { loadBalancer = { ingress = json.list({ { ip = "1.2.3.4" } }) } } })
      local code, object = merge(api, SERVICES .. "/s", { spec = { type = "ClusterIP" } })
      assert.equal(200, code)
      for _, name in ipairs({ "externalTrafficPolicy", "allocateLoadBalancerNodePorts", "healthCheckNodePort" }) do
        assert.is_nil(object.spec[name], name)
      end
      assert.is_nil(object.spec.ports[1].nodePort)
      assert.equal("1.2.3.4", object.status.loadBalancer.ingress[1].ip)
    end)
  end)

  describe("update and patch", function()
    before_each(function()
      ask(api, "POST", CONFIGS, config("c", { a = "1" }))
    end)

    it("refuse a stale resourceVersion, another name and another uid", function()
      local code, status = merge(api, CONFIGS .. "/c", { metadata = { resourceVersion = "1" }, data = { a = "2" } })
      assert.equal(409, code)
      assert.equal('Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your '
        .. "changes to the latest version and try again", status.message)
      assert.equal(409, (ask(api, "PUT", CONFIGS .. "/c", { metadata = { name = "c", resourceVersion = "1" } })))
      assert.equal(409, (ask(api, "PUT", CONFIGS .. "/c", { metadata = { name = "c", uid = "x" } })))
      assert.equal(400, (ask(api, "PUT", CONFIGS .. "/c", config("d"))))
      assert.equal(422, (merge(api, CONFIGS .. "/c", { metadata = { uid = "x" } })))
      assert.equal(404, (ask(api, "PUT", CONFIGS .. "/none", config("none"))))
    end)

    it("that change nothing keep the resourceVersion", function()
      local before = api.store.revision
      local code = merge(api, CONFIGS .. "/c", { data = { a = "1" } })
      assert.equal(200, code)
      assert.equal(before, api.store.revision)
    end)

    it("take no other media types", function()
      local code, status = ask(api, "PATCH", CONFIGS .. "/c", "{}")
      assert.equal(415, code)
      assert.equal("415: Unsupported Media Type", status.message)
    end)

    it("apply creates what is not there, and wants a fieldManager", function()
      local headers = { ["content-type"] = "application/apply-patch+yaml" }
      local body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: n}\ndata: {a: b}\n"
      assert.equal(422, (ask(api, "PATCH", CONFIGS .. "/n", body, headers)))
      assert.equal(201, (ask(api, "PATCH", CONFIGS .. "/n?fieldManager=m", body, headers)))
      assert.equal(200, (ask(api, "PATCH", CONFIGS .. "/n?fieldManager=m", body, headers)))
    end)

    it("honour immutable", function()
      merge(api, CONFIGS .. "/c", { immutable = true })
      local code, status = merge(api, CONFIGS .. "/c", { data = { a = "2" } })
      assert.equal(422, code)
      assert.matches("field is immutable when `immutable` is set", status.message)
    end)
  end)

  describe("the status subresource", function()
    before_each(function()
      ask(api, "POST", SERVICES, service("s", { type = "LoadBalancer" }))
    end)

    it("takes status and metadata only; the main path takes all else", function()
      local _, object = merge(api, SERVICES .. "/s/status", { metadata = { annotations = { a = "b" } },
        spec = { loadBalancerIP = "9.9.9.9" },
        status = { loadBalancer = { ingress = json.list({ { ip = "1.2.3.4" } }) } } })
      assert.equal("b", object.metadata.annotations.a)
      assert.is_nil(object.spec.loadBalancerIP)
      assert.equal('[{"ip":"1.2.3.4","ipMode":"VIP"}]', json.encode(object.status.loadBalancer.ingress))
      local before = api.store.revision
      merge(api, SERVICES .. "/s", { status = { loadBalancer = json.null } })
      assert.equal(before, api.store.revision)
    end)

    it("refuses an address that is none", function()
      local code, status = merge(api, SERVICES .. "/s/status",
        { status = { loadBalancer = { ingress = json.list({ { ip = "bogus" } }) } } })
      assert.equal(422, code)
      assert.same({ 'status.loadBalancer.ingress[0].ip: Invalid value: "bogus": must be a valid IP address' },
        causes(status))
    end)

    it("is there where the kind has one", function()
      assert.equal(200, (ask(api, "GET", SERVICES .. "/s/status")))
      assert.equal(405, (ask(api, "DELETE", SERVICES .. "/s/status")))
      assert.equal(404, (ask(api, "GET", CONFIGS .. "/c/status")))
    end)
  end)

  describe("delete", function()
    it("answers a Status, and checks preconditions", function()
      local _, object = ask(api, "POST", CONFIGS, config("c"))
      local code, status = ask(api, "DELETE", CONFIGS .. "/c", { preconditions = { uid = "x" } })
      assert.equal(409, code)
      assert.equal("Conflict", status.reason)
      code, status = ask(api, "DELETE", CONFIGS .. "/c", { propagationPolicy = "Background" })
      assert.equal(200, code)
      assert.equal("Success", status.status)
      assert.same({ name = "c", kind = "configmaps", uid = object.metadata.uid }, status.details)
      assert.equal(404, (ask(api, "DELETE", CONFIGS .. "/c")))
    end)

    it("takes dryRun from the body", function()
      ask(api, "POST", CONFIGS, config("c"))
      assert.equal(200, (ask(api, "DELETE", CONFIGS .. "/c", { dryRun = json.list({ "All" }) })))
      assert.equal(200, (ask(api, "GET", CONFIGS .. "/c")))
    end)

    it("waits for finalizers, takes no new ones meanwhile, and ends with the last", function()
      ask(api, "POST", CONFIGS, { metadata = { name = "c", finalizers = json.list({ "a.b/c" }) } })
      local code, object = ask(api, "DELETE", CONFIGS .. "/c")
      assert.equal(200, code)
      assert.equal("2026-01-01T00:00:00Z", object.metadata.deletionTimestamp)
      local before = api.store.revision
      ask(api, "DELETE", CONFIGS .. "/c")
      assert.equal(before, api.store.revision)
      assert.equal(422, (merge(api, CONFIGS .. "/c", { metadata = { finalizers = json.list({ "a.b/c", "d.e/f" }) } })))
      assert.equal(200, (merge(api, CONFIGS .. "/c", { metadata = { finalizers = json.null } })))
      assert.equal(404, (ask(api, "GET", CONFIGS .. "/c")))
    end)

    it("of a namespace takes all in it, after the last finalizer", function()
      ask(api, "POST", "/api/v1/namespaces", { metadata = { name = "n" } })
      ask(api, "POST", "/api/v1/namespaces/n/configmaps", config("plain"))
      ask(api, "POST", "/api/v1/namespaces/n/configmaps",
        { metadata = { name = "held", finalizers = json.list({ "a.b/c" }) } })
      local _, object = ask(api, "DELETE", "/api/v1/namespaces/n")
      assert.equal("Terminating", object.status.phase)
      assert.equal(404, (ask(api, "GET", "/api/v1/namespaces/n/configmaps/plain")))
      local code, status = ask(api, "POST", "/api/v1/namespaces/n/configmaps", config("late"))
      assert.equal(403, code)
      assert.equal("NamespaceTerminating", status.details.causes[1].reason)
      merge(api, "/api/v1/namespaces/n/configmaps/held", { metadata = { finalizers = json.null } })
      assert.equal(404, (ask(api, "GET", "/api/v1/namespaces/n")))
      assert.equal(403, (ask(api, "DELETE", "/api/v1/namespaces/default")))
    end)

    it("of a collection takes what the selector chooses", function()
      for _, name in ipairs({ "a", "b" }) do
        ask(api, "POST", CONFIGS, { metadata = { name = name, labels = { n = name } } })
      end
      assert.equal(200, (ask(api, "DELETE", CONFIGS .. "?labelSelector=n%3Da")))
      local _, list = ask(api, "GET", CONFIGS)
      assert.equal(1, #list.items)
    end)
  end)

  describe("list", function()
    before_each(function()
      for _, name in ipairs({ "e", "d", "c", "b", "a" }) do
        ask(api, "POST", CONFIGS, config(name, { v = "1" }))
      end
    end)

    local function page(target)
      local _, list = ask(api, "GET", target)
      local names = {}
      for i, item in ipairs(list.items) do
        names[i] = item.metadata.name .. (item.data.v == "1" and "" or "!")
      end
      return table.concat(names), list.metadata
    end

    it("in pages that show one state, whatever happens meanwhile", function()
      local names, metadata = page(CONFIGS .. "?limit=2")
      assert.equal("ab", names)
      assert.equal(3, metadata.remainingItemCount)
      ask(api, "DELETE", CONFIGS .. "/c")
      merge(api, CONFIGS .. "/d", { data = { v = "2" } })
      local second, last = page(CONFIGS .. "?limit=2&continue=" .. metadata.continue)
      assert.equal("cd", second)
      assert.equal(metadata.resourceVersion, last.resourceVersion)
      assert.equal("e", (page(CONFIGS .. "?limit=2&continue=" .. last.continue)))
      assert.equal("abd!e", (page(CONFIGS)))
    end)

    it("ends pages with 410 once the past is forgotten, and gives a token to go on", function()
      local _, metadata = page(CONFIGS .. "?limit=2")
      ask(api, "DELETE", CONFIGS .. "/d")
      api.store:compact()
      local code, status = ask(api, "GET", CONFIGS .. "?limit=2&continue=" .. metadata.continue)
      assert.equal(410, code)
      assert.equal("Expired", status.reason)
      assert.equal("ce", (page(CONFIGS .. "?limit=2&continue=" .. status.metadata.continue)))
    end)

    it("at a resourceVersion, or not before it", function()
      local then_version = api.store.revision
      merge(api, CONFIGS .. "/a", { data = { v = "2" } })
      assert.equal("abcde", (page(CONFIGS .. "?resourceVersionMatch=Exact&resourceVersion=" .. then_version)))
      assert.equal("a!bcde", (page(CONFIGS .. "?resourceVersion=" .. then_version)))
      local code, status = ask(api, "GET", CONFIGS .. "?resourceVersion=99999")
      assert.equal(504, code)
      assert.equal("ResourceVersionTooLarge", status.details.causes[1].reason)
      api.store:compact()
      assert.equal(410, (ask(api, "GET", CONFIGS .. "?resourceVersionMatch=Exact&resourceVersion=" .. then_version)))
    end)

    it("refuses bad queries", function()
      for query, wanted in pairs({
        ["limit=x"] = 400, ["continue=zzz"] = 400, ["labelSelector=%3Db"] = 400, ["fieldSelector=spec.type%3Dx"] = 400,
        ["resourceVersion=abc"] = 400, ["resourceVersionMatch=Exact"] = 422,
        ["resourceVersion=0&resourceVersionMatch=Exact"] = 422, ["resourceVersion=1&resourceVersionMatch=Odd"] = 422,
      }) do
        assert.equal(wanted, (ask(api, "GET", CONFIGS .. "?" .. query)), query)
      end
    end)

    it("of items without kind, of all namespaces, of one that does not exist", function()
      local _, list = ask(api, "GET", "/api/v1/configmaps")
      assert.equal("ConfigMapList", list.kind)
      assert.equal(5, #list.items)
      assert.is_nil(list.items[1].kind)
      assert.equal(0, #select(2, ask(api, "GET", "/api/v1/namespaces/none/configmaps")).items)
    end)
  end)

  describe("forms of the answer", function()
    it("a Table carries metadata, whole objects or nothing", function()
      ask(api, "POST", SERVICES, service("s", { type = "LoadBalancer" }))
      local accept = { accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" }
      local _, list = ask(api, "GET", SERVICES .. "?fieldSelector=metadata.name%3Ds", nil, accept)
      assert.equal("Table", list.kind)
      assert.equal(1, #list.rows)
      assert.same({ "s", "LoadBalancer", "<pending>" },
        { list.rows[1].cells[1], list.rows[1].cells[2], list.rows[1].cells[4] })
      assert.equal("PartialObjectMetadata", list.rows[1].object.kind)
      _, list = ask(api, "GET", SERVICES .. "?includeObject=Object", nil, accept)
      assert.equal("Service", list.rows[1].object.kind)
      _, list = ask(api, "GET", SERVICES .. "?includeObject=None", nil, accept)
      assert.equal(json.null, list.rows[1].object)
    end)

    it("metadata alone, YAML, and 406 for what is not served", function()
      local _, list = ask(api, "GET", SERVICES, nil,
        { accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" })
      assert.equal("PartialObjectMetadataList", list.kind)
      assert.is_nil(list.items[1].spec)
      local _, text = ask(api, "GET", SERVICES .. "/kubernetes", nil, { accept = "application/yaml" })
      assert.matches("kind: Service\n", text)
      assert.equal(406, (ask(api, "GET", SERVICES, nil, { accept = "application/vnd.kubernetes.protobuf" })))
      assert.equal(200, (ask(api, "GET", SERVICES, nil,
        { accept = "application/vnd.kubernetes.protobuf,application/json" })))
    end)

    it("discovery is aggregated for those who ask for version 2, and only for them", function()
      local v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
      local _, document, headers = ask(api, "GET", "/apis", nil, { accept = v2 .. ",application/json" })
      assert.equal("APIGroupDiscoveryList", document.kind)
      assert.equal(v2, headers["Content-Type"])
      local _, old = ask(api, "GET", "/apis", nil, { accept = v2:gsub("v=v2", "v=v2beta1") .. ",application/json" })
      assert.equal("APIGroupList", old.kind)
      for _, group in ipairs(document.items) do
        for _, version in ipairs(group.versions) do
          assert.is_true(#version.resources > 0)
          local code = ask(api, "GET", "/apis/" .. group.metadata.name .. "/" .. version.version)
          assert.equal(200, code)
        end
      end
    end)

    it("what is not there says so as the real server does", function()
      local code, status = ask(api, "GET", "/api/v1/unicorns")
      assert.equal(404, code)
      assert.equal("the server could not find the requested resource", status.message)
      local unknown, text = ask(api, "GET", "/apis/unicorns.io/v1/unicorns")
      assert.equal(404, unknown)
      assert.equal("404 page not found\n", text)
      assert.equal(405, (ask(api, "POST", SERVICES .. "/s", service("s"))))
      assert.equal(405, (ask(api, "PUT", SERVICES, service("s"))))
    end)
  end)

  describe("kinds in two versions", function()
    it("an Event is one object in both groups", function()
      local path = "/apis/events.k8s.io/v1/namespaces/default/events"
      local event = {
        metadata = { name = "e" }, note = "hello", type = "Normal", reason = "R", action = "A",
        reportingController = "moonlb", reportingInstance = "x", eventTime = "2026-01-01T00:00:00.000000Z",
        regarding = { kind = "Service", name = "s", namespace = "default" },
      }
      assert.equal(201, (ask(api, "POST", path, event)))
      local _, old = ask(api, "GET", "/api/v1/namespaces/default/events/e")
      assert.equal("hello", old.message)
      assert.equal("s", old.involvedObject.name)
      local _, list = ask(api, "GET",
        "/api/v1/events?fieldSelector=involvedObject.name%3Ds,involvedObject.kind%3DService")
      assert.equal(1, #list.items)
      assert.equal("hello", select(2, ask(api, "GET", path .. "/e")).note)
      event.metadata.name, event.eventTime = "f", nil
      assert.equal(422, (ask(api, "POST", path, event)))
      event.regarding.namespace, event.eventTime = "kube-system", "2026-01-01T00:00:00.000000Z"
      assert.equal(422, (ask(api, "POST", path, event)))
    end)

    it("an EndpointSlice's node and zone move between v1 and v1beta1", function()
      local path = "/apis/discovery.k8s.io/%s/namespaces/default/endpointslices"
      ask(api, "POST", path:format("v1beta1"), {
        metadata = { name = "s" }, addressType = "IPv4", ports = json.list({ { port = 80 } }),
        endpoints = json.list({ {
          addresses = json.list({ "10.0.0.1" }), topology = { ["kubernetes.io/hostname"] = "n1", other = "x" },
        } }),
      })
      local _, object = ask(api, "GET", path:format("v1") .. "/s")
      assert.equal("n1", object.endpoints[1].nodeName)
      assert.same({ other = "x" }, object.endpoints[1].deprecatedTopology)
      assert.equal("TCP", object.ports[1].protocol)
      assert.equal(1, object.metadata.generation)
      _, object = ask(api, "GET", path:format("v1beta1") .. "/s")
      assert.same({ ["kubernetes.io/hostname"] = "n1", other = "x" }, object.endpoints[1].topology)
    end)
  end)

  it("an Event goes after an hour", function()
    local now = 1767225600
    api = apis.new({ now = function() return now end })
    local path = "/api/v1/namespaces/default/events"
    ask(api, "POST", path, { metadata = { name = "e" }, involvedObject = { namespace = "default" } })
    now = now + 3600
    api:expire_events()
    assert.equal(200, (ask(api, "GET", path .. "/e")))
    now = now + 1
    api:expire_events()
    assert.equal(404, (ask(api, "GET", path .. "/e")))
  end)

  it("a Lease wants six digits, and bounds", function()
    local path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    assert.equal(400, (ask(api, "POST", path,
      { metadata = { name = "l" }, spec = { renewTime = "2026-01-01T00:00:00Z" } })))
    assert.equal(422, (ask(api, "POST", path, { metadata = { name = "l" }, spec = { leaseDurationSeconds = 0 } })))
    assert.equal(201, (ask(api, "POST", path, { metadata = { name = "l" },
      spec = { renewTime = "2026-01-01T00:00:00.000000Z", leaseDurationSeconds = 15 } })))
  end)
end)
