-- The alert rules and the dashboard speak of what /metrics really prints, on a node that allocates, announces, refuses,
-- and has a policy mounted.
local cjson = require("cjson")
local http = require("spec.support.http")
local kubernetes = require("spec.support.kubernetes")
local loop = require("spec.support.loop")
local lyaml = require("lyaml")
local program = require("spec.support.program")

local function on_path(name)
  return os.execute("command -v " .. name .. " >/dev/null 2>&1")
end

local function dashboard()
  local file <close> = assert(io.open("manifests/dashboard.json"))
  return cjson.decode(file:read("a"))
end

local function rules()
  local file <close> = assert(io.open("manifests/alerts.yaml"))
  return lyaml.load(file:read("a")).groups[1].rules
end

-- Metric -> set of its label names, from the text format.
local function parse(page)
  local metrics = { text = page }
  for name, labels in page:gmatch("\n(moonlb_[%w_]+)({?[^\n]*)") do
    metrics[name] = metrics[name] or {}
    for label in labels:gmatch('([%w_]+)="') do metrics[name][label] = true end
  end
  return metrics
end

-- An expression of Prometheus names only metrics, and labels of them, that there are. How many metrics it names.
local function check(expression, metrics, where)
  local count = 0
  for name, behind in expression:gmatch("(moonlb_[%w_]+)()") do
    count = count + 1
    assert.truthy(metrics[name], ("%s: no metric %s"):format(where, name))
    for label in (expression:match("^{(.-)}", behind) or ""):gmatch("([%w_]+)%s*[!=]") do
      assert.truthy(metrics[name][label], ("%s: %s has no label %s"):format(where, name, label))
    end
  end
  for label in (expression:match("by %((.-)%)") or ""):gmatch("[%w_]+") do
    local of = metrics[expression:match("moonlb_[%w_]+")]
    assert.truthy(label == "instance" or of[label], where .. ": no label " .. label)
  end
  return count
end

-- A policy that fails at one Service and refuses another: then there is something to count.
local POLICY = [[
function rule.late(service) if service.metadata.labels.app == "late" then error("as it should") end end
function rule.never(service) if service.metadata.labels.app == "never" then return refuse("as it should") end end
return { api = 1, name = "failing", rules = { rule.late, rule.never, rule.global_pool } }
]]

local function until_status(c, name, address)
  loop.until_true(function()
    return c:run("get", "svc", name, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}") == address
  end, 30, "status of " .. name)
end

local function with_metrics(body)
  return kubernetes.test(function(c)
    local link = program.run("sh", { "-ec",
      "ip link show eth0 >/dev/null 2>&1 && exit; ip link add eth0 type veth peer name cable; ip link set cable up; "
        .. "ip link set eth0 up" })
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
    c:run("create", "service", "loadbalancer", "never", "--tcp=80")
    loop.until_true(function() return c:run("describe", "svc", "never"):find("AddressRefused") end, 20, "refused")
    body(parse(http.curl("http://127.0.0.1:2112/metrics"):wait(20).out))
  end, 60)
end

describe("/metrics", function()
  it("holds every name that the alert rules and the dashboard ask for, with its labels", with_metrics(function(metrics)
    local count = 0
    for _, rule in ipairs(rules()) do count = count + check(rule.expr, metrics, rule.alert) end
    assert.equal(12, count)
    count = 0
    for _, panel in ipairs(dashboard().panels) do
      for _, target in ipairs(panel.targets or {}) do
        check(target.expr, metrics, panel.title)
        local by = target.expr:match("by %((.-)%)") or ""
        for label in target.legendFormat:gmatch("{{([%w_]+)}}") do
          assert.truthy(label == "instance" or by:find(label, 1, true), panel.title .. ": legend " .. label)
        end
        count = count + 1
      end
    end
    assert.is_true(count > 25)
  end))

  it("has nothing that promtool would say of it", with_metrics(function(metrics)
    if not on_path("promtool") then return pending("promtool is not installed") end
    local judged = program.run("promtool", { "check", "metrics" }, { input = metrics.text })
    assert.same({ 0, "", "" }, { judged.code, judged.stdout, judged.stderr })
  end))
end)

describe("manifests/dashboard.json", function()
  it("gives each panel an id and a place of its own, and one source of data", function()
    local ids, cells = {}, {}
    for _, panel in ipairs(dashboard().panels) do
      assert.is_nil(ids[panel.id], panel.title)
      ids[panel.id] = true
      local place = panel.gridPos
      assert.is_true(place.x + place.w <= 24, panel.title)
      for x = place.x, place.x + place.w - 1 do
        for y = place.y, place.y + place.h - 1 do
          local cell = ("%d,%d"):format(x, y)
          assert.is_nil(cells[cell], panel.title .. " lies on " .. tostring(cells[cell]))
          cells[cell] = panel.title
        end
      end
      if panel.targets then assert.equal("${datasource}", panel.datasource.uid) end
    end
  end)
end)

describe("manifests/alerts.yaml", function()
  it("is what promtool takes for rules", loop.test(function()
    if not on_path("promtool") then return pending("promtool is not installed") end
    local judged = program.run("promtool", { "check", "rules", "manifests/alerts.yaml" })
    assert.equal(0, judged.code, judged.stdout .. judged.stderr)
  end))

  it("has a severity and a sentence for each", function()
    for _, rule in ipairs(rules()) do
      assert.truthy(rule.labels.severity == "critical" or rule.labels.severity == "warning", rule.alert)
      assert.matches("%.$", rule.annotations.summary)
    end
  end)
end)
