-- The alert rules speak of what /metrics really prints, on a node that allocates, announces, and has a policy mounted.
local http = require("spec.support.http")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")
local lyaml = require("lyaml")
local program = require("spec.support.program")

local function rules()
  local file <close> = assert(io.open("manifests/alerts.yaml"))
  return lyaml.load(file:read("a")).groups[1].rules
end

-- Metric -> set of its label names, from the text format.
local function parse(page)
  local metrics = {}
  for name, labels in page:gmatch("\n(moonlb_[%w_]+)({?[^\n]*)") do
    metrics[name] = metrics[name] or {}
    for label in labels:gmatch('([%w_]+)="') do metrics[name][label] = true end
  end
  return metrics
end

-- A policy that fails at one Service: then there are failures to count.
local POLICY = [[
function rule.late(service) if service.metadata.labels.app == "late" then error("as it should") end end
return { api = 1, name = "failing", rules = { rule.late, rule.global_pool } }
]]

local function until_status(c, name, address)
  loop.until_true(function()
    return c:run("get", "svc", name, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}") == address
  end, 30, "status of " .. name)
end

local function with_metrics(body)
  return kubernetes.test(function(c)
    local link = program.run("sh", { "-ec",
      "ip link add eth0 type veth peer name cable; ip link set cable up; ip link set eth0 up" })
    assert.equal(0, link.code, link.stderr)
    c:run("-n", "kube-system", "create", "configmap", "kubevip", "--from-literal=policy=failing",
      "--from-literal=range-global=192.168.0.200-192.168.0.219")
    c:run("create", "service", "loadbalancer", "web", "--tcp=80")
    local file = assert(io.open(c.home .. "/failing.lua", "w"))
    file:write(POLICY)
    file:close()
    local moonlb = http.spawn(program.moonlb(), { "run", "--kubeconfig", c.kubeconfig, "--node-name", "node1",
      "--interface", "eth0", "--probe", "off", "--policy-dir", c.home, "--state-dir", c.home })
    c.processes[moonlb] = true
    until_status(c, "web", "192.168.0.200")
    c:run("create", "service", "loadbalancer", "late", "--tcp=80")
    until_status(c, "late", "192.168.0.201")
    body(parse(http.curl("http://127.0.0.1:2112/metrics"):wait(20).out))
  end, 60)
end

describe("manifests/alerts.yaml", function()
  it("names only metrics, and labels of them, that /metrics prints", with_metrics(function(metrics)
    local count = 0
    for _, rule in ipairs(rules()) do
      for name, behind in rule.expr:gmatch("(moonlb_[%w_]+)()") do
        count = count + 1
        assert.truthy(metrics[name], ("%s: no metric %s"):format(rule.alert, name))
        for label in (rule.expr:match("^{(.-)}", behind) or ""):gmatch("([%w_]+)%s*[!=]") do
          assert.truthy(metrics[name][label], ("%s: %s has no label %s"):format(rule.alert, name, label))
        end
      end
      for label in (rule.expr:match("by %((.-)%)") or ""):gmatch("[%w_]+") do
        assert.truthy(metrics[rule.expr:match("moonlb_[%w_]+")][label], rule.alert .. ": no label " .. label)
      end
    end
    assert.equal(10, count)
  end))

  it("has a severity and a sentence for each", function()
    for _, rule in ipairs(rules()) do
      assert.truthy(rule.labels.severity == "critical" or rule.labels.severity == "warning", rule.alert)
      assert.matches("%.$", rule.annotations.summary)
    end
  end)
end)
