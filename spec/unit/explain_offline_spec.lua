-- The sentence of `moonlb explain` where no daemon is asked: the API alone, or manifests.
local explain = require("moonlb.control.explain")
local explaining = require("spec.support.explaining")
local facts = require("moonlb.control.explain.facts")
local fields = require("moonlb.allocator.fields")
local page = require("moonlb.control.explain.text")

local configmap, service, node, of = explaining.configmap, explaining.service, explaining.node, explaining.of
local assert_says, POOL, STRANGER = explaining.assert_says, explaining.POOL, explaining.STRANGER

describe("explain: an address that only the API is asked about", function()
  local function claimed(annotations, more)
    annotations[fields.ASSIGNED] = annotations[fields.ASSIGNED] or "10.0.0.100 default/global_pool"
    return of({ service("web", nil, annotations) }, POOL, nil, more)
  end

  it("is well, with each node's rank", function()
    local report = claimed({ ["moonlb.io/claim"] = "3 node2", ["kube-vip.io/vipHost"] = "node2" })
    assert_says("well", "10.0.0.100 is announced by node node2", "moonlb explain on a node", report)
    assert.is_true(report.is_well)
    assert.same({ 1, 2 }, { report.nodes[1].rank, report.nodes[2].rank })
  end)

  it("has no owner", function()
    assert_says("no-owner", "no node announces 10.0.0.100 yet", "wait a second", (claimed({})))
  end)

  it("belongs to a node that is gone", function()
    assert_says("owner-gone", "its claim names node node9", "get pods", (claimed({ ["moonlb.io/claim"] = "3 node9",
      ["kube-vip.io/vipHost"] = "node9" })))
  end)

  it("is announced by kube-vip", function()
    assert_says("foreign-host", "is announced by node node2, but not by moonlb", "--allocate alone",
      (claimed({ ["kube-vip.io/vipHost"] = "node2" })))
  end)

  it("is announced by kube-vip and by moonlb", function()
    assert_says("kube-vip-beside", "kube-vip.io/vipHost says node2, moonlb's claim says node1", "svc_enable=false",
      (claimed({ ["moonlb.io/claim"] = "3 node1", ["kube-vip.io/vipHost"] = "node2" })))
  end)

  it("has only drained nodes", function()
    local drained = { node("node1", nil, { ["moonlb.io/drain"] = "true" }),
      node("node2", { ["node.kubernetes.io/exclude-from-external-load-balancers"] = "" }) }
    assert_says("all-drained", "every node is drained", "moonlb.io/drain", (claimed({}, { nodes = drained })))
  end)

  it("has no endpoint", function()
    assert_says("no-endpoint", "it has no ready endpoint", "kubectl -n demo get pods,endpointslices",
      (claimed({ ["moonlb.io/claim"] = "3 node1", ["kube-vip.io/vipHost"] = "node1" }, { slices = {} })))
  end)

  it("is a stranger's", function()
    assert_says("stranger", STRANGER .. " answers for it on eth0", "by its MAC", (claimed({
      [fields.ASSIGNED] = "10.0.0.100 default/static",
      ["moonlb.io/conflict"] = "10.0.0.100 " .. STRANGER .. " eth0 node1 2099-01-01T00:00:00Z" })))
  end)

  it("waits for DHCP", function()
    assert_says("dhcp-unknown", "no lease is written yet", "-- moonlb explain demo/web", (claimed({
      [fields.ASSIGNED] = "0.0.0.0 default/dhcp" })))
    assert_says("dhcp-unknown", "LeaseLost", "", (claimed({ [fields.ASSIGNED] = "0.0.0.0 default/dhcp" },
      { events = { { type = "Warning", reason = "LeaseLost", message = "the server refused", at = os.time() } } })))
  end)

  local function slices(place)
    return { slices = { { usable = 1, nodes = { [place] = 1 } } } }
  end

  local function local_one(more)
    return of({ service("web", { externalTrafficPolicy = "Local" }, { ["moonlb.io/claim"] = "3 node2",
      [fields.ASSIGNED] = "10.0.0.100 default/global_pool", ["kube-vip.io/vipHost"] = "node2" }) }, POOL, nil, more)
  end

  it("is Local, and its endpoint is on the node that announces it", function()
    assert_says("well", "announced by node node2", "", (local_one(slices("node2"))))
  end)

  it("is Local, and its endpoint is on another node", function()
    assert_says("local-endpoints", "ready endpoints (on node1)", '"externalTrafficPolicy":"Cluster"',
      (local_one(slices("node1"))))
  end)

  local EXPIRED = { lease = { spec = { holderIdentity = "node1_1", leaseDurationSeconds = 15,
    renewTime = "2026-01-01T00:00:00.000000Z" } } }

  it("was announced by a moonlb that was killed", function()
    local _, it = claimed({ ["moonlb.io/claim"] = "3 node2", ["kube-vip.io/vipHost"] = "node2" }, EXPIRED)
    local report = explain.report(it)
    assert_says("lease-expired", "whether node node2 still announces 10.0.0.100 is not known", "get pods", report)
    assert.is_truthy(report.wrong:find("Lease moonlb-allocator was last renewed", 1, true), report.wrong)
    assert.is_false(report.is_well)
    it.node, it.stale_socket = "node2", "/run/moonlb/control.sock"
    assert_says("daemon-gone", "the moonlb of node node2 has ended and took nothing back: nobody answers on its socket "
      .. "/run/moonlb/control.sock; Lease moonlb-allocator was last renewed", "start it again", explain.report(it))
  end)

  it("is announced by another node than this one, whose moonlb was killed: that is a note", function()
    local _, it = claimed({ ["moonlb.io/claim"] = "3 node2", ["kube-vip.io/vipHost"] = "node2" })
    it.node, it.stale_socket = "node1", "/run/moonlb/control.sock"
    local report = explain.report(it)
    assert_says("well", "announced by node node2", "", report)
    assert.matches("nobody answers on /run/moonlb/control.sock", report.notes[1])
  end)

  it("waits for a leader that was killed", function()
    assert_says("no-leader", "nobody writes addresses (node1_1 renewed it last, ", "see Lease",
      (of({ service("web") }, POOL, nil, EXPIRED)))
  end)

  it("was refused, for a reason that only the moonlb that decides knows", function()
    local function with(events) return (of({ service("web") }, POOL, nil, { events = events })) end
    local refused = { type = "Warning", reason = "AddressRefused", at = os.time(),
      message = "10.0.0.255 is excluded: broadcast address of eth0 on node node1" }
    assert_says("refused-lately", "(Event AddressRefused, 0 s ago): 10.0.0.255 is excluded: broadcast address",
      "ask for another address", with({ refused }))
    assert_says("being-written", "would be given to it", "get pods",
      with({ refused, { type = "Normal", reason = "AddressAssigned", message = "", at = os.time() + 1 } }))
  end)

  it("had a policy that failed: that is a note", function()
    local report = claimed({ ["moonlb.io/claim"] = "3 node2", ["kube-vip.io/vipHost"] = "node2" }, { events = {
      { type = "Warning", reason = "PolicyFailed", message = "policy team (team.lua:3): why", at = os.time() } } })
    assert_says("well", "announced by node node2", "", report)
    assert.same({ "Event PolicyFailed, 0 s ago: policy team (team.lua:3): why" }, { table.unpack(report.notes) })
  end)

  it("shows no pool for an address outside every pool, nor for no Service", function()
    local report = claimed({ [fields.ASSIGNED] = "192.168.5.5 default/static" })
    assert.is_nil(page.page(report, false):find("\npool +"))
    assert.is_nil(page.page((of({}, POOL)), false):find("\npool +"))
    local waiting = of({ service("web", { ipFamilies = { "IPv6" } }) }, POOL)
    assert.is_truthy(page.page(waiting, false):find("\npool +range"))
  end)

  it("was leased: it is what the lease says", function()
    local report = claimed({ [fields.ASSIGNED] = "0.0.0.0 default/dhcp", ["moonlb.io/lease"] =
      "10.0.0.77 10.0.0.1 2026-01-01T00:00:00Z", ["moonlb.io/claim"] = "3 node1", ["kube-vip.io/vipHost"] = "node1" })
    assert_says("well", "10.0.0.77 is announced by node node1", "", report)
    assert.same({ "10.0.0.77" }, { table.unpack(report.addresses) })
  end)

  it("is only for some clients", function()
    local all = { service("web", { loadBalancerSourceRanges = { "10.9.0.0/16" } }, {
      [fields.ASSIGNED] = "10.0.0.100 default/global_pool", ["moonlb.io/claim"] = "3 node1",
      ["kube-vip.io/vipHost"] = "node1" }) }
    assert_says("source-ranges", "only 10.9.0.0/16 may reach it", "add the client's network", (of(all, POOL)))
  end)
end)

describe("explain: manifests", function()
  local function of_files(services, data, nodes)
    local objects = { configmap(data) }
    for _, object in ipairs(nodes or {}) do
      object.kind = "Node"
      objects[#objects + 1] = object
    end
    for _, object in ipairs(services) do
      object.kind = "Service"
      objects[#objects + 1] = object
    end
    return explain.report(facts.of_manifests("demo/web", objects, { configmap = "kube-system/kubevip" }))
  end

  it("of a Service that fits: what it would be given, by which rule, and that is well", function()
    local report = of_files({ service("web") }, POOL)
    assert_says("would-be-given", "10.0.0.100 would be given to it by rule global_pool of policy default, from "
      .. "range-global", "nothing is wrong in these files", report)
    assert.same({ true, "files" }, { report.is_well, report.source })
    report = of_files({ service("web", { loadBalancerIP = "0.0.0.0" }) }, POOL)
    assert_says("would-be-given", "it would get its address by DHCP by rule dhcp", "", report)
  end)

  it("of a Service that has an address: who announces it is no question to files", function()
    local report = of_files({ service("web", nil, { [fields.ASSIGNED] = "10.0.0.100 default/global_pool" }) }, POOL)
    assert_says("well", "10.0.0.100 is assigned to it (rule global_pool)", "only a cluster says", report)
    assert.is_true(report.is_well)
  end)

  it("of a Service that does not fit", function()
    assert_says("excluded", "10.0.0.2", "ask for another", of_files({ service("web",
      { loadBalancerIP = "10.0.0.2" }) }, POOL, { node("node1") }))
  end)

  it("of Services that were never made, and so have no uid, share an address", function()
    local shared = { [fields.ASSIGNED] = "10.0.0.100 default/static" }
    local report = of_files({ service("web", nil, shared, { uid = false }),
      service("other", nil, shared, { uid = false }) }, POOL)
    assert.same({ "10.0.0.100" }, { table.unpack(report.addresses) })
  end)
end)
