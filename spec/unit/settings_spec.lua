local settings = require("moonlb.cli.settings")

describe("settings.resolve", function()
  it("runs both halves unless one is named", function()
    local values = settings.resolve({}, {})
    assert.is_true(values.allocate and values.announce)
    values = settings.resolve({ allocate = {} }, {})
    assert.is_true(values.allocate)
    assert.is_false(values.announce)
    values = settings.resolve({ announce = { "false" } }, {})
    assert.is_true(values.allocate)
    assert.is_false(values.announce)
  end)

  it("refuses to run nothing", function()
    local values, message = settings.resolve({ announce = { "false" }, allocate = { "false" } }, {})
    assert.is_nil(values)
    assert.matches("nothing is left to do", message)
  end)

  it("takes flags before the environment, and our names before kube-vip's", function()
    local environment = { vip_interface = "eth1", MOONLB_INTERFACE = "eth2" }
    assert.equal("eth2", settings.resolve({}, environment).interface)
    assert.equal("eth3", settings.resolve({ interface = "eth3" }, environment).interface)
    assert.equal("eth1", settings.resolve({}, { vip_interface = "eth1" }).interface)
  end)

  it("understands kube-vip's units and forms", function()
    local values = settings.resolve({}, { vip_arpRate = "3000", prometheus_server = ":2113", vip_loglevel = "5",
      lb_class_only = "True", KUBEVIP_CONFIG_MAP = "pools" })
    assert.equal(3, values.arp_rate)
    assert.equal(2113, values.port)
    assert.equal("debug", values.log_level)
    assert.is_true(values.lb_class_only)
    assert.equal("pools", values.configmap)
  end)

  it("takes the Lease's times when they fit together", function()
    local values = settings.resolve({}, { vip_leaseduration = "5", vip_renewdeadline = "3", vip_retryperiod = "1" })
    assert.same({ 5, 3, 1 }, { values.lease_duration, values.lease_renew_deadline, values.lease_retry })
    local warnings
    values, warnings = settings.resolve({}, { vip_leaseduration = "5" })
    assert.same({ 15, 10, 2 }, { values.lease_duration, values.lease_renew_deadline, values.lease_retry })
    assert.matches("the duration must be longer than the deadline.*using 15, 10 and 2", warnings[1])
    local _, message = settings.resolve({ lease_retry = "9" }, {})
    assert.matches("1.2 times the retry", message)
  end)

  it("names the flag, the value and what would be right", function()
    local values, message = settings.resolve({ probe = "slow" }, {})
    assert.is_nil(values)
    assert.equal("--probe slow: fast, rfc5227 or off expected", message)
  end)

  it("warns of an unreadable variable, and says what is used instead", function()
    local values, warnings = settings.resolve({}, { MOONLB_PORT = "eighty" })
    assert.equal(2112, values.port)
    assert.same({ "MOONLB_PORT=eighty: a port from 0 to 65535 (0: none) expected; using 2112" }, warnings)
  end)

  it("warns of kube-vip's variables that have no effect, when they are switched on, without their values", function()
    local _, warnings = settings.resolve({}, { bgp_enable = "true", bgp_peerpass = "secret", cp_enable = "false",
      dns_mode = "true", vip_arp = "true", PATH = "/bin" })
    assert.same({ "bgp_enable is kube-vip's and has no effect in moonlb",
      "bgp_peerpass is kube-vip's and has no effect in moonlb",
      "dns_mode is kube-vip's and has no effect in moonlb" }, warnings)
  end)
end)

describe("settings.list", function()
  it("gives every setting a flag, an environment name of ours and a help text, each once", function()
    local seen = {}
    for _, it in ipairs(settings.list) do
      assert.matches("^%-%-[a-z-]+$", it.flag)
      assert.equal("MOONLB_" .. it.key:upper(), it.environment[1])
      assert.is_true(#it.help > 10)
      for _, name in ipairs(it.environment) do
        assert.is_nil(seen[name], name)
        seen[name] = true
      end
    end
  end)
end)
