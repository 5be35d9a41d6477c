--- `moonlb plan` and `moonlb policy`: from files to a page, JSON and an exit code.
local cjson = require("cjson")
local json = require("moonlb.json")
local manifests = require("moonlb.cli.manifests")
local plan = require("moonlb.cli.plan")
local policy = require("moonlb.cli.policy")
local uv = require("luv")

local folder

local function write(name, text)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

before_each(function() folder = assert(uv.fs_mkdtemp("/tmp/moonlb-plan-XXXXXX")) end)

after_each(function()
  local scan = assert(uv.fs_scandir(folder))
  for name in function() return uv.fs_scandir_next(scan) end do uv.fs_unlink(folder .. "/" .. name) end
  uv.fs_rmdir(folder)
end)

-- Run it: exit code, what it wrote, what it complained about.
local function run(args, has_colour, environment)
  local out, complaints = {}, {}
  args.output, args.filename = args.output or "table", args.filename or {}
  local code = plan.run(args, { write = function(text) out[#out + 1] = text end, has_colour = has_colour or false,
    complain = function(text) complaints[#complaints + 1] = text end, environment = environment or {} })
  return code, table.concat(out), table.concat(complaints)
end

local CONFIGMAP = [[
apiVersion: v1
kind: ConfigMap
metadata: {name: kubevip, namespace: kube-system}
data:
  cidr-global: 10.0.0.0/29, oops
  interface-global: eth0
]]

local SERVICES = [[
---
apiVersion: v1
kind: Service
metadata: {name: web, creationTimestamp: null}
spec:
  type: LoadBalancer
  ports: [{port: 80}]
---
# nothing here
---
kind: Service
metadata: {name: api, namespace: shop}
spec: {type: LoadBalancer, loadBalancerIP: 10.0.0.1, ports: [{port: 80}]}
---
kind: Service
metadata: {name: plain}
spec: {type: ClusterIP}
]]

local PENDING = [[
---
kind: Service
metadata: {name: late, namespace: shop}
spec: {type: LoadBalancer, ipFamilies: [IPv6], ports: [{port: 80}]}
]]

describe("moonlb plan -o json", function()
  it("has exactly the fields of the design, and arrays that stay arrays", function()
    local path = write("all.yaml", CONFIGMAP .. SERVICES .. PENDING)
    local code, text = run({ filename = { path }, output = "json" })
    assert.equal(1, code)
    local result = cjson.decode(text)
    local names = {}
    for name in pairs(result.decisions[1]) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "action", "addresses", "interface", "message", "name", "namespace", "pool", "reason", "rule",
      "trace" }, names)
    assert.same({ "api", "static", { "10.0.0.1" }, "eth0" }, { result.decisions[1].name, result.decisions[1].action,
      result.decisions[1].addresses, result.decisions[1].interface })
    local late = result.decisions[3]
    assert.same({ "late", "pending", {} }, { late.name, late.action, late.addresses })
    assert.equal("cidr-global has no IPv6 addresses", late.reason)
    local web = result.decisions[2]
    assert.same({ "web", "assign", { "10.0.0.2" }, "cidr-global", "global_pool" },
      { web.name, web.action, web.addresses, web.pool, web.rule })
    assert.equal(3, #result.decisions)
    assert.truthy(text:find('"addresses": []', 1, true))
    assert.same({ object = "ConfigMap kube-system/kubevip", key = "cidr-global", item = "oops" },
      { object = result.warnings[1].object, key = result.warnings[1].key, item = result.warnings[1].item })
  end)

  it("has arrays even when there is nothing", function()
    local code, text = run({ filename = { write("empty.yaml", "") }, output = "json" })
    assert.equal(0, code)
    assert.truthy(text:find('"decisions": []', 1, true))
  end)
end)

describe("moonlb plan", function()
  it("shows decisions, pools, the sum and warnings, in columns and without colours in a pipe", function()
    local code, text = run({ filename = { write("all.yaml", CONFIGMAP .. SERVICES .. PENDING) } })
    assert.equal(1, code)
    assert.equal([[
NAMESPACE  NAME  ACTION   ADDRESSES  FROM         INTERFACE  WHY
shop       api   static   10.0.0.1   static       eth0
default    web   assign   10.0.0.2   cidr-global  eth0
shop       late  pending                                     cidr-global has no IPv6 addresses

POOL    KEYS         FAMILY  USED  SIZE
global  cidr-global  IPv4       2     7  ######..............  29 %

3 Services: 1 assigned, 1 static, 1 pending.

warning: ConfigMap kube-system/kubevip, cidr-global: "oops" is not an address: expected an IPv4 or IPv6 ]]
      .. "address (such as 10.0.0.8 or fd00::8)\n", text)
  end)

  it("has colours on a terminal, and the same columns", function()
    local path = write("all.yaml", CONFIGMAP .. SERVICES)
    local _, plain = run({ filename = { path } })
    local code, coloured = run({ filename = { path } }, true)
    assert.equal(0, code)
    assert.truthy(coloured:find("\27[32m", 1, true))
    -- Padding may lie inside the colours: trailing space is all that differs.
    assert.equal(plain, (coloured:gsub("\27%[%d+m", ""):gsub("[ ]+\n", "\n")))
  end)

  it("lets no manifest steer the terminal", function()
    local path = write("x.json", json.encode({ kind = "Service", metadata = { name = "a\27[31m\nb" },
      spec = { type = "LoadBalancer" } }))
    local _, text = run({ filename = { path } })
    assert.is_nil(text:find("\27", 1, true))
  end)

  it("reads files, folders, Lists and JSON alike", function()
    write("1.yaml", CONFIGMAP)
    write("2.json", [[{"kind": "List", "items": [{"kind": "ServiceList", "items": [
      {"metadata": {"name": "a", "annotations": null}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}]}]}]])
    write("3.yml", "kind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.1}]}\n")
    write("notes.txt", "not this one")
    local code, text = run({ filename = { folder }, output = "json" })
    assert.equal(0, code)
    assert.same({ "10.0.0.2" }, cjson.decode(text).decisions[1].addresses)
  end)

  it("says in one line, with file and line, what cannot be read", function()
    local cases = {
      { write("bad.yaml", "kind: Service\nmetadata: {name: [}\n"), "bad.yaml:2: " },
      { write("bad.json", "{\n\n \"a\": [1,}"), "bad.json:3: " },
      { write("nokind.yaml", "metadata: {name: x}\n"), "nokind.yaml: an object has a kind" },
      { write("noname.yaml", CONFIGMAP .. "---\nkind: Service\n"), "noname.yaml, document 2: a Service without" },
      { write("text.yaml", "just text\n"), "an object expected, not string" },
      { write("items.json", '{"kind": "List", "items": 7}'), "items is no list" },
      { folder .. "/none.yaml", "No such file" },
    }
    for _, case in ipairs(cases) do
      local code, text, complaint = run({ filename = { case[1] } })
      assert.same({ 2, "" }, { code, text })
      assert.truthy(complaint:find(case[2], 1, true), complaint)
      assert.equal(1, select(2, complaint:gsub("\n", "")), complaint)
      assert.equal("moonlb plan: ", complaint:sub(1, 13))
    end
  end)

  it("decides by a policy from a file; its failures are warnings, and the stock policy decides", function()
    local path = write("all.yaml", CONFIGMAP .. SERVICES)
    local team = write("team.lua", "return { api = 1, rules = { function(service)\n"
      .. "if service.metadata.name == 'web' then error('oops') end\nreturn use('192.0.2.1') end } }")
    local code, text = run({ filename = { path }, policy = team, output = "json" })
    assert.equal(0, code)
    local result = cjson.decode(text)
    assert.same({ { "192.0.2.1" }, { "10.0.0.2" } }, { result.decisions[1].addresses, result.decisions[2].addresses })
    local warning = result.warnings[#result.warnings]
    assert.same({ "Service default/web", "policy team" }, { warning.object, warning.key })
    assert.truthy(warning.message:find("team.lua:2: oops", 1, true))
  end)

  it("ends a policy without end, and the stock policy decides", function()
    local endless = write("endless.lua", "return { api = 1, rules = { function() while true do end end } }")
    local all = write("all.yaml", CONFIGMAP .. SERVICES)
    local code, text = run({ filename = { all }, policy = endless, output = "json" })
    local result = cjson.decode(text)
    assert.equal(0, code)
    assert.equal("assign", result.decisions[#result.decisions].action)
    assert.equal("policy endless", result.warnings[#result.warnings].key)
  end)

  it("says what is wrong with a policy", function()
    local path, bad = write("all.yaml", CONFIGMAP), write("bad.lua", "\nreturn {")
    local code, _, complaint = run({ filename = { path }, policy = bad })
    assert.equal(2, code)
    assert.truthy(complaint:find("bad.lua:2: ", 1, true), complaint)
  end)

  it("reads the ConfigMap and the classes that environment and flags name", function()
    local path = write("all.yaml", CONFIGMAP:gsub("name: kubevip", "name: mine") .. SERVICES)
    local code = run({ filename = { path } })
    assert.equal(1, code)
    code = run({ filename = { path } }, false, { KUBEVIP_CONFIG_MAP = "mine" })
    assert.equal(0, code)
    local _, text = run({ filename = { path }, output = "json", lb_class_only = { "true" } }, false,
      { KUBEVIP_CONFIG_MAP = "mine" })
    assert.equal("ignore", cjson.decode(text).decisions[1].action)
  end)

  it("says what it lacks when there is neither file nor cluster", function()
    local code, _, complaint = run({}, false, { KUBECONFIG = folder .. "/none" })
    assert.equal(2, code)
    assert.truthy(complaint:find("-f FILE", 1, true), complaint)
  end)
end)

describe("manifests.parse", function()
  it("survives aliases that repeat a table many times", function()
    local lines = { "kind: Service", "metadata: {name: x}", "a0: &a0 [1, 2]" }
    for i = 1, 40 do lines[#lines + 1] = ("a%d: &a%d [*a%d, *a%d]"):format(i, i, i - 1, i - 1) end
    assert.equal(1, #assert(manifests.parse("x", table.concat(lines, "\n"))))
  end)
end)

describe("moonlb policy", function()
  local function run_policy(action, ...)
    local out = {}
    local code = policy.run({ action = action, file = { ... } }, { has_colour = false,
      write = function(text) out[#out + 1] = text end })
    return code, table.concat(out)
  end

  it("test runs the tests and says what differs", function()
    local path = write("team.lua", [[return { api = 1, rules = { rule.global_pool }, tests = {
      { name = "good", given = { configmap = { ["cidr-global"] = "10.0.0.0/29" } }, expect = { action = "assign" } },
      { name = "bad", expect = { action = "assign" } } } }]])
    local code, text = run_policy("test", path)
    assert.equal(1, code)
    assert.truthy(text:find("failed: bad: action is pending, expected assign", 1, true), text)
    assert.truthy(text:find("1 passed, 1 failed", 1, true))
  end)

  local RAISES = "return { api = 1, rules = { function(service)\n  local team = service.metadata.labels.team\n"
    .. "  return use(team.address)\nend }, tests = { { name = 'x', expect = { action = 'assign' } } } }"

  it("test shows the offending line", function()
    local code, text = run_policy("test", write("team.lua", RAISES))
    assert.equal(1, code)
    assert.truthy(text:find("team.lua:3: attempt to index a nil value", 1, true), text)
    assert.truthy(text:find("\n    3 |   return use(team.address)\n", 1, true), text)
  end)

  it("plan shows the offending line, once", function()
    local two = {}
    for i, name in ipairs({ "a", "b" }) do
      two[i] = ("kind: Service\nmetadata: {name: %s}\nspec: {type: LoadBalancer, ports: [{port: 80}]}"):format(name)
    end
    local out = {}
    plan.run({ filename = { write("two.yaml", table.concat(two, "\n---\n")) }, policy = write("team.lua", RAISES),
      output = "table" }, { has_colour = false, environment = {}, write = function(text) out[#out + 1] = text end })
    local text = table.concat(out)
    assert.equal(2, select(2, text:gsub("team.lua:3: attempt to index", "")), text)
    assert.equal(1, select(2, text:gsub("\n    3 |   return use%(team.address%)\n", "")), text)
  end)

  it("plan shows the line on which a policy does not compile", function()
    local said = {}
    local code = plan.run({ filename = { write("none.yaml", "") }, output = "table",
      policy = write("team.lua", "return {\n  api = = 1 }") },
      { has_colour = false, environment = {}, complain = function(text) said[#said + 1] = text end })
    assert.equal(2, code)
    assert.truthy(table.concat(said):find("\n    2 |   api = = 1 }\n", 1, true), table.concat(said))
  end)

  it("test fails when there is no test", function()
    assert.equal(1, (run_policy("test", write("team.lua", "return { api = 1, rules = { rule.static } }"))))
  end)

  it("check shows the offending line", function()
    local code, text = run_policy("check", write("team.lua", "return {\n  api = 1,\n  rules = = {},\n}"))
    assert.equal(1, code)
    assert.truthy(text:find("team.lua:3: ", 1, true), text)
    assert.truthy(text:find("    3 |   rules = = {},", 1, true), text)
    assert.equal(0, (run_policy("check", write("good.lua", "return { api = 1, rules = { rule.static } }"))))
  end)
end)
