-- Addresses probed ahead of time (--preprobe), judged by tcpdump at a neighbour.
local async = require("moonlb.async")
local lab = require("spec.support.lab")
local loop = require("spec.support.loop")

local FIRST, SECOND = "10.77.0.128", "10.77.0.129" -- of the pool of namespace demo

-- tcpdump's lines at the client, from when it listens on.
local function watch(it)
  local dump = it:start("client", "tcpdump", "--immediate-mode", "-l", "-n", "-i", "eth0", "arp")
  loop.until_true(function() return dump:output():find("listening on") end, 10, "tcpdump")
  return dump
end

local function probes_of(dump, ip)
  return select(2, dump:output():gsub("who%-has " .. ip:gsub("%.", "%%.") .. " tell 0%.0%.0%.0", ""))
end

describe("moonlb run --preprobe", function()
  it("probes the next address before a Service asks; the Service gets it without another probe", lab.test(function(it)
    local dump = watch(it)
    it:moonlb("node1", { "--preprobe" })
    loop.until_true(function() return probes_of(dump, FIRST) == 3 end, 15, "three probes")
    async.sleep(0.5) -- silence after the third probe is what says that it is free
    it:service("web")
    assert.equal(FIRST, it:until_address("web"))
    assert.equal(FIRST, it:get("web").metadata.annotations["moonlb.io/probed"])
    assert.is_true(it:is_answered(FIRST))
    assert.equal(3, probes_of(dump, FIRST))
    loop.until_true(function() return probes_of(dump, SECOND) == 3 end, 5, "the next one")
    it:signal(dump, "sigterm")
  end))

  it("leaves out an address that a stranger holds, before anybody is given it", lab.test(function(it)
    assert.equal(0, it:on("client", "ip", "address", "add", FIRST .. "/24", "dev", "eth0").code)
    local dump = watch(it)
    it:moonlb("node1", { "--preprobe" })
    loop.until_true(function() return probes_of(dump, SECOND) == 3 end, 15, "three probes of the next one")
    it:service("web")
    assert.equal(SECOND, it:until_address("web"))
    it:signal(dump, "sigterm")
  end))

  it("probes as ever where the address was not probed ahead: a static one", lab.test(function(it)
    local dump = watch(it)
    it:moonlb("node1", { "--preprobe" })
    loop.until_true(function() return probes_of(dump, FIRST) == 3 end, 15, "three probes")
    it:service("web", { loadBalancerIP = "10.77.0.200" })
    assert.equal("10.77.0.200", it:until_address("web"))
    assert.is_nil(it:get("web").metadata.annotations["moonlb.io/probed"])
    assert.equal(3, probes_of(dump, "10.77.0.200"))
    it:signal(dump, "sigterm")
  end))
end)
