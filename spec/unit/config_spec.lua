--- The ConfigMap's keys, forms and tolerances.
local config = require("moonlb.allocator.config")

local function read(data)
  return config.read({ kind = "ConfigMap", metadata = { namespace = "kube-system", name = "kubevip" }, data = data })
end

local function ranges(source)
  local list = {}
  for i, range in ipairs(source.set:ranges()) do list[i] = range.first .. "-" .. range.last end
  return list
end

local function ranges_of(value, more)
  local data = more or {}
  data["cidr-global"] = value
  local result = read(data)
  return ranges(result:global_sources()[1]), result.warnings
end

describe("an address key", function()
  it("takes blocks, ranges and single addresses of both families, whatever the key says", function()
    assert.same({ "10.0.0.8-10.0.0.15", "10.0.1.1-10.0.1.5", "10.0.2.1-10.0.2.1", "fd00::-fd00::3" },
      (ranges_of("fd00::/126,10.0.2.1,10.0.1.1-10.0.1.5,10.0.0.8/29")))
  end)

  it("masks host bits", function()
    assert.same({ "10.0.0.8-10.0.0.15" }, (ranges_of("10.0.0.13/29")))
  end)

  it("is read with spaces, newlines, empty items and trailing commas", function()
    local found, warnings = ranges_of(" 10.0.0.8/29 ,, \n 10.0.1.1 - 10.0.1.5\n10.0.2.1,\n")
    assert.same({ "10.0.0.8-10.0.0.15", "10.0.1.1-10.0.1.5", "10.0.2.1-10.0.2.1" }, found)
    assert.same({}, warnings)
  end)

  it("loses its bad items, each reported with key and text; the good ones stay", function()
    local found, warnings = ranges_of("10.0.0.8/29, hello, 10.0.0.9-10.0.0.1, 10.0.0.0/33, 10.1.1.1/ab, 10.0.9.1")
    assert.same({ "10.0.0.8-10.0.0.15", "10.0.9.1-10.0.9.1" }, found)
    local items = {}
    for i, warning in ipairs(warnings) do
      items[i] = warning.item
      assert.same({ "ConfigMap kube-system/kubevip", "cidr-global" }, { warning.object, warning.key })
      assert.truthy(#warning.message > 10)
    end
    assert.same({ "10.0.0.0/33", "10.0.0.9-10.0.0.1", "10.1.1.1/ab", "hello" }, items)
  end)

  it("has no address that no Service can have", function()
    local found, warnings = ranges_of("224.0.0.0/24, 127.0.0.1, fe80::1, ::1, 223.255.255.250-224.0.0.9")
    assert.same({ "223.255.255.250-223.255.255.255" }, found)
    assert.equal(5, #warnings)
  end)

  it("is DHCP when it is exactly 0.0.0.0/32", function()
    for _, value in ipairs({ "0.0.0.0/32", " 0.0.0.0/32\n", "0.0.0.0/32," }) do
      assert.is_true(read({ ["cidr-global"] = value }):global_sources()[1].is_dhcp)
    end
    local mixed = read({ ["cidr-global"] = "10.0.0.1, 0.0.0.0/32" })
    assert.is_false(mixed:global_sources()[1].is_dhcp)
    assert.truthy(mixed.warnings[1].message:find("DHCP", 1, true))
  end)
end)

describe("skip-end-ips-in-cidr", function()
  local SKIP = { ["skip-end-ips-in-cidr"] = "true" }

  it("leaves out first and last of each IPv4 block, not of /31, /32, ranges and IPv6", function()
    local expected = { "10.0.0.9-10.0.0.14", "10.0.1.0-10.0.1.1", "10.0.2.4-10.0.2.4", "10.0.3.0-10.0.3.9",
      "fd00::-fd00::3" }
    assert.same(expected,
      (ranges_of("10.0.0.8/29,10.0.1.0/31,10.0.2.4/32,10.0.3.0-10.0.3.9,fd00::/126", SKIP)))
  end)

  it("looks at blocks after merging them", function()
    assert.same({ "10.0.0.9-10.0.0.14" }, (ranges_of("10.0.0.8/30,10.0.0.12/30", SKIP)))
    assert.same({ "10.0.0.9-10.0.0.14", "10.0.0.17-10.0.0.18" }, (ranges_of("10.0.0.8/29,10.0.0.16/30", SKIP)))
    assert.same({ "10.0.0.1-10.0.0.254" }, (ranges_of("10.0.0.0/25,10.0.0.128/25,10.0.0.64/26", SKIP)))
  end)

  it("leaves what a range names as well", function()
    assert.same({ "10.0.0.8-10.0.0.14" }, (ranges_of("10.0.0.8/29,10.0.0.8-10.0.0.9", SKIP)))
  end)
end)

describe("Config:namespace_sources", function()
  it("is cidr before range; either key keeps the global pool away, even an empty one", function()
    local result = read({ ["cidr-a"] = "10.0.0.0/29", ["range-a"] = "10.0.1.1-10.0.1.2", ["cidr-b"] = "",
      ["cidr-global"] = "10.9.0.0/24" })
    assert.same({ "cidr-a", "range-a" }, { result:namespace_sources("a")[1].key, result:namespace_sources("a")[2].key })
    assert.same({}, ranges(result:namespace_sources("b")[1]))
    assert.is_nil(result:namespace_sources("c"))
    assert.same({ "a", "b", "global" }, { result:pool_of("a"), result:pool_of("b"), result:pool_of("c") })
    assert.same({ "a", "b", "global" }, result:pool_names())
  end)

  it("is the namespace's with a range alone", function()
    local result = read({ ["range-a"] = "10.0.1.1-10.0.1.2" })
    assert.equal("a", result:pool_of("a"))
    assert.equal("range-a", result:namespace_sources("a")[1].key)
  end)

  it("is noted where kube-vip would have gone to cidr-global", function()
    local result = read({ ["range-a"] = "10.0.1.1-10.0.1.2", ["cidr-global"] = "10.9.0.0/24" })
    assert.equal(1, #result.warnings)
    assert.is_true(result.warnings[1].is_note)
    assert.equal("range-a", result.warnings[1].key)
  end)
end)

describe("switches", function()
  it("are booleans as kube-vip reads them; nonsense is false and reported", function()
    for _, value in ipairs({ "true", "True", "1", "t", " true\n" }) do
      assert.is_true(read({ ["allow-share-global"] = value }):is_shared("global"), value)
    end
    for _, value in ipairs({ "false", "0", "" }) do
      assert.is_false(read({ ["allow-share-global"] = value }):is_shared("global"), value)
    end
    local odd = read({ ["allow-share-a"] = "maybe" })
    assert.is_false(odd:is_shared("a"))
    assert.equal("maybe", odd.warnings[1].item)
  end)

  it("include search-order, of which desc alone is descending", function()
    assert.is_true(read({ ["search-order"] = "desc" }).is_descending)
    assert.is_false(read({ ["search-order"] = "asc" }).is_descending)
    assert.equal(1, #read({ ["search-order"] = "downwards" }).warnings)
  end)

  it("may be given unquoted in a manifest, which is reported", function()
    local result = read({ ["allow-share-global"] = true })
    assert.is_true(result:is_shared("global"))
    assert.equal(1, #result.warnings)
  end)
end)

describe("Config:interface", function()
  it("falls back to the global one, unless the namespace's key is empty", function()
    local result = read({ ["interface-global"] = "eth0", ["interface-a"] = "eth1", ["interface-b"] = "" })
    assert.same({ "eth1", "eth0" }, { result:interface("a"), result:interface("c") })
    assert.is_nil(result:interface("b"))
    assert.is_nil(read({}):interface("a"))
  end)
end)

describe("Config:policy", function()
  it("is the namespace's, the cluster's, or the stock one", function()
    local result = read({ policy = "team", ["policy-a"] = "other", ["policy-b"] = "" })
    assert.same({ "other", "team", "team" }, { result:policy("a"), result:policy("b"), result:policy("c") })
    assert.equal("default", read({}):policy("a"))
  end)
end)

describe("config.read", function()
  it("takes no ConfigMap at all, and one without data", function()
    assert.same({}, config.read(nil).warnings)
    assert.is_nil(config.read(nil):global_sources())
    assert.same({}, read(nil).warnings)
  end)

  it("notes keys that it does not know", function()
    local warning = read({ ["cdir-global"] = "10.0.0.0/24" }).warnings[1]
    assert.same({ "cdir-global", true }, { warning.key, warning.is_note })
  end)
end)
