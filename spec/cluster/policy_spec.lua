-- Policies in a cluster: chosen by the ConfigMap, swapped when their file changes, refused with an Event. The user is
-- kubectl.
local cjson = require("cjson")

local http = require("spec.support.http")
local ipam = require("spec.support.ipam")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local runtime = require("moonlb.core.runtime")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local TEAM = [[return { api = 1, name = "team",
  rules = { function(_, cluster) return use(cluster.pool("10.9.0.0/24"):free()) end },
  tests = { { name = "its pool", expect = { addresses = { "10.9.0.1" } } } } }]]

local function environment()
  local list = {}
  for name, value in pairs(uv.os_environ()) do
    if not name:find("^MOONLB_") or name == "MOONLB_LUA_PATH" then list[#list + 1] = name .. "=" .. value end
  end
  return list
end

local Case = {}
Case.__index = Case

-- As the kubelet publishes a ConfigMap volume.
function Case:publish(files)
  self.stamp = (self.stamp or 0) + 1
  local folder = ("%s/..%d"):format(self.dir, self.stamp)
  uv.fs_mkdir(folder, 448)
  for name, text in pairs(files) do
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
    file:close()
    uv.fs_symlink("..data/" .. name, self.dir .. "/" .. name)
  end
  uv.fs_symlink(".." .. self.stamp, self.dir .. "/..data_tmp")
  assert(uv.fs_rename(self.dir .. "/..data_tmp", self.dir .. "/..data"))
end

function Case:configure(data)
  local lines = {}
  for key, value in pairs(data) do lines[#lines + 1] = ("  %s: %q"):format(key, value) end
  self.c:apply(("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: %s, name: kubevip}\ndata:\n%s\n")
    :format(self.namespace, table.concat(lines, "\n")))
end

function Case:service(name)
  self.c:run("-n", self.namespace, "create", "service", "loadbalancer", name, "--tcp=80:8080")
end

function Case:annotations(name)
  return cjson.decode((self.c:run("-n", self.namespace, "get", "svc", name, "-o", "json"))).metadata.annotations or {}
end

function Case:until_assigned(name, text)
  loop.until_true(function() return self:annotations(name)["moonlb.io/assigned"] == text end, 10, name .. ": " .. text)
end

function Case:has_event(reason, text)
  local list = cjson.decode((self.c:run("-n", self.namespace, "get", "events", "-o", "json")))
  for _, event in ipairs(list.items) do
    if event.reason == reason and event.message:find(text, 1, true) then return event end
  end
  return nil
end

function Case:until_event(reason, text)
  return loop.until_true(function() return self:has_event(reason, text) end, 10, "Event " .. reason)
end

-- Until /metrics has these lines.
function Case:until_metrics(lines)
  loop.until_true(function()
    local text = http.curl(("http://127.0.0.1:%d/metrics"):format(self.port)):wait(20).out
    for _, line in ipairs(lines) do
      if not text:find("\n" .. line .. "\n", 1, true) then return false end
    end
    return true
  end, 20, table.concat(lines, "\n"))
end

-- A namespace, a policy folder with these files and a moonlb that allocates.
local function test(files, data, body, ...)
  local flags = { ... }
  return kubernetes.test(function(c)
    local dir = temporary.folder("moonlb-policies")
    local case = setmetatable({ c = c, namespace = c:namespace(), dir = dir, port = http.free_port() }, Case)
    case:publish(files)
    case:configure(data)
    local arguments = { "run", "--allocate", "true", "--kubeconfig", c.kubeconfig, "--namespace", case.namespace,
      "--configmap-namespace", case.namespace, "--policy-dir", case.dir, "--listen", "127.0.0.1",
      "--port", tostring(case.port) }
    table.move(flags, 1, #flags, #arguments + 1, arguments)
    local moonlb = http.spawn(program.moonlb(), arguments, { env = environment() })
    local ok, message = xpcall(body, debug.traceback, case)
    moonlb:kill("sigterm")
    moonlb:wait(15)
    temporary.remove(case.dir)
    if not ok then error(tostring(message) .. "\n" .. moonlb.out .. moonlb.err, 0) end
    assert.equal(0, moonlb.code)
  end, 90)
end

describe("a mounted policy", function()
  it("decides for whom the ConfigMap names it; nothing else changes", test({ ["team.lua"] = TEAM },
    { ["cidr-global"] = "10.0.0.0/24" }, function(case)
      case:service("before")
      case:until_assigned("before", "10.0.0.1 default/global_pool")
      case:configure({ ["cidr-global"] = "10.0.0.0/24", ["policy-" .. case.namespace] = "team" })
      case:service("after")
      case:until_assigned("after", "10.9.0.1 team/rule-1")
      assert.equal("10.0.0.1 default/global_pool", case:annotations("before")["moonlb.io/assigned"])
      case:configure({ ["cidr-global"] = "10.0.0.0/24", policy = "sticky" })
      case:service("web")
      loop.until_true(function()
        return (case:annotations("web")["moonlb.io/assigned"] or ""):find(" sticky/sticky", 1, true)
      end, 10, "an example by name")
    end))

  it("is swapped when its file changes, and moves nothing", test({ ["team.lua"] = TEAM }, { policy = "team" },
    function(case)
      case:service("a")
      case:until_assigned("a", "10.9.0.1 team/rule-1")
      local began = runtime.boottime()
      case:publish({ ["team.lua"] = TEAM:gsub("10%.9%.", "10.8.") })
      local event = case:until_event("PolicySwapped", "policy team")
      assert.equal("ConfigMap", event.involvedObject.kind)
      assert.equal("kubevip", event.involvedObject.name)
      assert.truthy(event.message:find("1 of 1 Services would get another address if made anew, each by itself",
        1, true), event.message)
      assert.is_true(runtime.boottime() - began < 10)
      case:service("b")
      case:until_assigned("b", "10.8.0.1 team/rule-1")
      assert.equal("10.9.0.1 team/rule-1", case:annotations("a")["moonlb.io/assigned"])
    end))

  it("stays when its edit is broken, and an Event says what is wrong", test({ ["team.lua"] = TEAM },
    { policy = "team" }, function(case)
      case:service("a")
      case:until_assigned("a", "10.9.0.1 team/rule-1")
      case:publish({ ["team.lua"] = "return {\n  api = 1,\n  rules = { nonsense( } }" })
      local event = case:until_event("PolicyFailed", "policy team")
      assert.equal("Warning", event.type)
      assert.matches("/team%.lua:3: .*; the version before stays in use$", event.message)
      assert.truthy(case.c:run("-n", case.namespace, "describe", "configmap", "kubevip"):find("PolicyFailed", 1, true))
      case:service("b")
      case:until_assigned("b", "10.9.0.2 team/rule-1")
      case:publish({ ["team.lua"] = TEAM:gsub("10%.9%.", "10.8.") })
      case:until_event("PolicySwapped", "policy team")
      case:service("c")
      case:until_assigned("c", "10.8.0.1 team/rule-1")
    end))

  it("that fails leaves its Services to the stock policy, with an Event that names the line", test({ ["bad.lua"] =
    "return { api = 1, rules = {\n  function() return nil + 1 end } }" },
    { policy = "bad", ["cidr-global"] = "10.0.0.0/24" }, function(case)
      case:service("a")
      case:until_assigned("a", "10.0.0.1 default/global_pool")
      local event = case:until_event("PolicyFailed", "policy bad")
      assert.matches("bad%.lua:2", event.message)
      assert.equal("Service", event.involvedObject.kind)
    end))

  it("that fails keeps them waiting with --policy-fallback pending, until it is repaired", test({ ["bad.lua"] =
    "return { api = 1, rules = {\n  function() return nil + 1 end } }" },
    { policy = "bad", ["cidr-global"] = "10.0.0.0/24" }, function(case)
      case:service("a")
      case:until_event("PolicyFailed", "policy bad")
      assert.is_nil(case:annotations("a")["moonlb.io/assigned"])
      case:publish({ ["bad.lua"] = "return { api = 1, rules = { rule.global_pool } }" })
      case:until_assigned("a", "10.0.0.1 bad/global_pool")
    end, "--policy-fallback", "pending"))

  it("is counted on /metrics: its failures, whether it is benched, and whether its file is in use", test({
    ["bad.lua"] = "return { api = 1, rules = {\n  function() return nil + 1 end } }", ["team.lua"] = TEAM },
    { policy = "bad", ["cidr-global"] = "10.0.0.0/24" }, function(case)
      case:service("a")
      case:until_metrics({ "# TYPE moonlb_policy_failures_total counter",
        'moonlb_policy_failures_total{policy="bad"} 1', 'moonlb_policy_benched{policy="bad"} 0',
        'moonlb_policy_up_to_date{policy="bad"} 1', 'moonlb_policy_up_to_date{policy="team"} 1' })
      for i = 1, 4 do case:service("b" .. i) end
      case:until_metrics({ 'moonlb_policy_failures_total{policy="bad"} 5', 'moonlb_policy_benched{policy="bad"} 1' })
      case:publish({ ["bad.lua"] = "return { api = 1, rules = { rule.global_pool } }", ["team.lua"] = "return {" })
      case:until_metrics({ 'moonlb_policy_failures_total{policy="bad"} 5', 'moonlb_policy_benched{policy="bad"} 0',
        'moonlb_policy_up_to_date{policy="bad"} 1', 'moonlb_policy_up_to_date{policy="team"} 0' })
    end))

  it("that is not there is named on the Service", test({}, { policy = "nobody", ["cidr-global"] = "10.0.0.0/24" },
    function(case)
      case:service("a")
      case:until_assigned("a", "10.0.0.1 default/global_pool")
      case:until_event("PolicyFailed", "policy nobody: there is no policy of that name")
    end))

  it("asks an IPAM that --policy-http-allow names", function()
    local server
    loop.test(function() server = ipam.start({}) end)()
    local text = runtime.source("policies/ipam.lua"):gsub('"http://netbox%.example:8000"', ("%q"):format(server.url))
      :gsub("tests = %b{}", "tests = {}")
    test({ ["plan.lua"] = text }, { policy = "plan", ["cidr-global"] = "10.0.0.0/24" }, function(case)
      server.addresses["web." .. case.namespace] = "10.20.0.7/24"
      case:service("web")
      case:until_assigned("web", "10.20.0.7 plan/ipam")
      case:service("other")
      case:until_assigned("other", "10.0.0.1 plan/global_pool")
    end, "--policy-http-allow", "127.0.0.1:" .. server.port)()
    server:stop()
  end)

  it("ranks nodes: the names are written with the address, and again when the nodes change", test({ ["place.lua"] =
    [[return { api = 1, rules = { rule.global_pool }, place = function(_, nodes)
      table.sort(nodes, function(a, b) return (a.labels.rank or "9") < (b.labels.rank or "9") end)
      return nodes end }]] }, { policy = "place", ["cidr-global"] = "10.0.0.0/24" }, function(case)
      local names = {}
      for i = 1, 2 do
        names[i] = case.namespace .. "-n" .. i
        case.c:apply(("apiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {rank: \"%d\"}}\n"):format(names[i], i))
      end
      case:service("a")
      case:until_assigned("a", "10.0.0.1 place/global_pool")
      loop.until_true(function()
        local place = case:annotations("a")["moonlb.io/place"] or ""
        return place:find(names[1] .. "," .. names[2], 1, true) == 1
      end, 10, "the ranking")
      case.c:run("label", "node", names[1], "rank=3", "--overwrite")
      loop.until_true(function()
        local place = case:annotations("a")["moonlb.io/place"] or ""
        return place:find(names[2] .. "," .. names[1], 1, true) == 1
      end, 10, "the new ranking")
      for _, name in ipairs(names) do case.c:run("delete", "node", name) end
    end))
end)
