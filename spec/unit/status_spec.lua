local json = require("cjson")
local status = require("moonlb.announcer.status")

local CLAIM = { term = 3, node = "n1" }

describe("announcer.status", function()
  local writes, service, now
  before_each(function()
    now = 1767000000
    writes = status.new("n1", function() return now end)
    service = { metadata = { namespace = "a", name = "web", resourceVersion = "17" },
      spec = { ports = { { port = 80.0, protocol = "TCP" }, { port = 53.0, protocol = "UDP" } } }, status = {} }
  end)

  local function served(...) return { addresses = { ... }, claim = CLAIM, conflicts = {}, freed = {} } end

  -- What the server would hold after the patch; `drop` names a field of ingress that it does not keep.
  local function apply(patch, drop)
    patch = json.decode(json.encode(patch))
    local live = json.decode(json.encode(service))
    live.metadata.annotations = live.metadata.annotations or {}
    for name, value in pairs(patch.metadata.annotations or {}) do
      live.metadata.annotations[name] = value ~= json.null and value or nil
    end
    if patch.status then
      local ingress = patch.status.loadBalancer.ingress
      live.status.loadBalancer = { ingress = ingress ~= json.null and ingress or nil }
      for _, entry in ipairs(live.status.loadBalancer.ingress or {}) do if drop then entry[drop] = nil end end
    end
    return live
  end

  it("is one patch for claim, vipHost and ingress, guarded by resourceVersion", function()
    local patch = writes:patch(service, served("10.0.0.9", "fd00::9"))
    local ports = { { port = 80, protocol = "TCP" }, { port = 53, protocol = "UDP" } }
    assert.same({
      metadata = { resourceVersion = "17",
        annotations = { ["kube-vip.io/vipHost"] = "n1", ["moonlb.io/claim"] = "3 n1" } },
      status = { loadBalancer = { ingress = { { ip = "10.0.0.9", ipMode = "VIP", ports = ports },
        { ip = "fd00::9", ipMode = "VIP", ports = ports } } } },
    }, patch)
    assert.matches('"port":80[,}]', json.encode(patch))	-- an integer on the wire
  end)

  it("is nothing once the server says so", function()
    service = apply(writes:patch(service, served("10.0.0.9")))
    assert.is_nil(writes:patch(service, served("10.0.0.9")))
  end)

  it("writes once, not for ever, where the server drops ipMode", function()
    service = apply(writes:patch(service, served("10.0.0.9")), "ipMode")
    assert.is_nil(writes:patch(service, served("10.0.0.9")))
    assert.is_nil(status.new("n1", function() return now end):patch(service, served("10.0.0.9")))
  end)

  it("learns that the server drops ports", function()
    local patch = writes:patch(service, served("10.0.0.9"))
    service = apply(patch, "ports")
    assert.is_not_nil(writes:patch(service, served("10.0.0.9")))
    writes:learn(patch, service)
    assert.is_nil(writes:patch(service, served("10.0.0.9")))
  end)

  it("writes a changed address, a changed port, a higher claim", function()
    service = apply(writes:patch(service, served("10.0.0.9")))
    assert.is_not_nil(writes:patch(service, served("10.0.0.8")).status)
    local claimed = writes:patch(service,
      { addresses = { "10.0.0.9" }, claim = { term = 4, node = "n1" }, conflicts = {}, freed = {} })
    assert.is_nil(claimed.status)
    assert.same({ ["moonlb.io/claim"] = "4 n1" }, claimed.metadata.annotations)
    service.spec.ports[1].port = 81
    assert.is_not_nil(writes:patch(service, served("10.0.0.9")).status)
  end)

  it("leaves status and claim alone without addresses, clears them with none", function()
    service = apply(writes:patch(service, served("10.0.0.9")))
    assert.is_nil(writes:patch(service, { conflicts = {}, freed = {} }))
    local patch = writes:patch(service, { addresses = {}, conflicts = {}, freed = {} })
    assert.equal(json.null, patch.status.loadBalancer.ingress)
    service = apply(patch)
    assert.same({}, service.metadata.annotations)
    assert.is_nil(writes:patch(service, { addresses = {}, conflicts = {}, freed = {} }))
  end)

  describe("conflicts", function()
    local OTHER = "10.0.0.7 02:00:00:00:00:77 eth0 n2 2026-01-01T00:00:00Z"
    local MINE = { address = "10.0.0.9", mac = "02:00:00:00:00:99", interface = "eth0", node = "n1",
      expires = 1767225600 }

    local function annotation() return service.metadata.annotations["moonlb.io/conflict"] end
    local function report(entries, freed)
      local patch = writes:patch(service, { conflicts = entries, freed = freed or {} })
      if patch then service = apply(patch) end
      return patch
    end

    before_each(function() service.metadata.annotations = { ["moonlb.io/conflict"] = OTHER } end)

    it("are reported beside what other nodes report", function()
      report({ MINE })
      assert.equal(OTHER .. ", 10.0.0.9 02:00:00:00:00:99 eth0 n1 2026-01-01T00:00:00Z", annotation())
      assert.is_nil(report({ MINE }))
    end)

    it("stay after a restart and a change of address, until this node holds the address", function()
      report({ MINE })
      assert.is_nil(report({}))
      report({}, { ["10.0.0.9"] = true, ["10.0.0.7"] = true })
      assert.equal(OTHER, annotation())
    end)

    it("go when they have expired, whoever reported them", function()
      report({ MINE })
      now = MINE.expires
      report({})
      assert.is_nil(annotation())
    end)
  end)
end)
