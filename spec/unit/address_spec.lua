local address = require("moonlb.core.address")

local function ranges_text(set, family)
  local out = {}
  for _, range in ipairs(set:ranges(family)) do
    out[#out + 1] = range.first == range.last and range.first or (range.first .. "-" .. range.last)
  end
  return table.concat(out, " ")
end

local function set_of(...)
  local set = address.set()
  for _, text in ipairs({ ... }) do
    local item = assert(address.item(text))
    set:add(item.first, item.last)
  end
  return set
end

describe("address.canonical", function()
  it("writes IPv6 as RFC 5952 says", function()
    local cases = {
      ["2001:DB8:0:0:1:0:0:1"] = "2001:db8::1:0:0:1", -- section 4.2.3: the first of equal runs
      ["2001:db8:0:1:1:1:1:1"] = "2001:db8:0:1:1:1:1:1", -- 4.2.2: one group is not shortened
      ["2001:0:0:1:0:0:0:1"] = "2001:0:0:1::1", -- 4.2.3: the longest run
      ["0:0:0:0:0:0:0:0"] = "::",
      ["0:0:0:0:0:0:0:1"] = "::1",
      ["1:0:0:0:0:0:0:0"] = "1::",
      ["0:0:1::"] = "0:0:1::",
      ["::1:2"] = "::1:2", -- as Kubernetes writes it; inet_ntop says ::0.1.0.2
      ["::1.2.3.4"] = "::102:304",
      ["64:ff9b::192.0.2.33"] = "64:ff9b::c000:221",
      ["1:2:3:4:5:6:7::"] = "1:2:3:4:5:6:7:0",
      ["::2:3:4:5:6:7:8"] = "0:2:3:4:5:6:7:8",
      ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      ["FE80::A"] = "fe80::a",
    }
    for text, expected in pairs(cases) do
      local canonical, family = address.canonical(text)
      assert.equal(expected, canonical, text)
      assert.equal(6, family)
    end
  end)

  it("leaves IPv4 as it is", function()
    for _, text in ipairs({ "0.0.0.0", "10.0.0.1", "192.168.100.200", "255.255.255.255" }) do
      assert.same({ text, 4 }, { address.canonical(text) })
    end
  end)

  it("refuses every other text with a reason", function()
    local cases = {
      [""] = "empty", [" 10.0.0.1"] = "expected", ["10.0.0.1 "] = "expected", ["10.0.0.1\n"] = "expected",
      ["10.0.0"] = "four numbers", ["10.0.0.256"] = "four numbers",
      ["10.0.0.1.2"] = "four numbers", ["1"] = "four numbers",
      ["0x0a.0.0.1"] = "expected", ["10.0.0.-1"] = "expected", ["10..0.1"] = "four numbers", ["."] = "four numbers",
      ["010.0.0.1"] = "leading zero", ["10.0.0.01"] = "leading zero", ["10.00.0.1"] = "leading zero",
      ["fe80::1%eth0"] = "zone", ["10.0.0.1%2"] = "zone",
      ["::ffff:10.0.0.1"] = "IPv4", ["::ffff:a00:1"] = "IPv4", ["0:0:0:0:0:ffff:0:0"] = "IPv4",
      ["1::2::3"] = "hexadecimal", ["1:2:3:4:5:6:7"] = "hexadecimal", ["1:2:3:4:5:6:7:8:9"] = "hexadecimal",
      ["12345::"] = "hexadecimal", ["00001::"] = "hexadecimal", [":1::"] = "hexadecimal", ["[::1]"] = "hexadecimal",
      ["::1:"] = "hexadecimal", ["::g"] = "hexadecimal", ["::1.2.3"] = "hexadecimal", ["::01.2.3.4"] = "hexadecimal",
      ["localhost"] = "expected", ["10.0.0.1/32"] = "expected", ["10.0.0.1\0"] = "byte",
      [("1"):rep(1000)] = "long",
    }
    for text, reason in pairs(cases) do
      local canonical, message, code = address.canonical(text)
      assert.is_nil(canonical, text)
      assert.equal("EINVAL", code)
      assert.truthy(message:find(reason, 1, true), ("%q: %s"):format(text, message))
    end
  end)

  it("raises for what is no text", function()
    assert.has_error(function() address.canonical(nil) end)
    assert.has_error(function() address.canonical({}) end)
  end)
end)

describe("address.compare", function()
  it("orders IPv4 before IPv6, then by number", function()
    local order = { "0.0.0.0", "9.255.255.255", "10.0.0.0", "10.0.0.10", "255.255.255.255", "::", "::1",
      "::fffe:ffff:0", "0:0:0:1::", "fd00::9", "fd00::10", "ffff::" }
    for i, a in ipairs(order) do
      for j, b in ipairs(order) do
        assert.equal(i < j and -1 or i > j and 1 or 0, address.compare(a, b), a .. " " .. b)
      end
    end
  end)

  it("raises for what is no address", function()
    assert.error_matches(function() address.compare("10.0.0.1", "10.0.0.256") end, "#2.*not an address")
  end)
end)

describe("address.kind", function()
  it("follows RFC 6890 and RFC 4291", function()
    local cases = {
      unspecified = { "0.0.0.0", "::" },
      loopback = { "127.0.0.1", "127.255.255.255", "::1" },
      multicast = { "224.0.0.0", "239.255.255.255", "ff00::", "ff02::1", "ffff::" },
      broadcast = { "255.255.255.255" },
      ["link-local"] = { "169.254.0.0", "169.254.255.255", "fe80::", "febf:ffff::1" },
      reserved = { "0.0.0.1", "0.255.255.255", "240.0.0.0", "255.255.255.254", "::2", "64:ff9b::1",
        "ff:ffff::", "100::1" },
      unicast = { "1.0.0.0", "10.0.0.1", "100.64.0.1", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
        "172.16.0.1", "192.0.2.1", "192.168.0.1", "223.255.255.255", "100:0:0:1::", "2001:db8::1", "fd00::1",
        "fe7f:ffff::", "fec0::", "fdff:ffff::" },
    }
    for kind, list in pairs(cases) do
      for _, text in ipairs(list) do assert.equal(kind, address.kind(text), text) end
    end
  end)
end)

describe("address.item", function()
  it("tells CIDR, range and single by their text", function()
    assert.same({ first = "10.0.0.0", last = "10.0.0.255", family = 4, form = "cidr", prefix = 24 },
      address.item("10.0.0.0/24"))
    assert.same({ first = "10.0.0.1", last = "10.0.0.9", family = 4, form = "range" },
      address.item("10.0.0.1-10.0.0.9"))
    assert.same({ first = "10.0.0.1", last = "10.0.0.1", family = 4, form = "single" }, address.item("10.0.0.1"))
    assert.same({ first = "fd00::", last = "fd00::ff", family = 6, form = "cidr", prefix = 120 },
      address.item("fd00::/120"))
  end)

  it("masks host bits", function()
    assert.same({ first = "10.1.2.0", last = "10.1.2.255", family = 4, form = "cidr", prefix = 24 },
      address.item("10.1.2.3/24"))
    assert.same({ first = "fd00::", last = "fd00::ffff:ffff:ffff:ffff", family = 6, form = "cidr", prefix = 64 },
      address.item("fd00::1:2:3/64"))
  end)

  it("takes the shortest and the longest prefix", function()
    local function ends(text)
      local item = assert(address.item(text))
      return item.first .. "-" .. item.last
    end
    assert.equal("0.0.0.0-255.255.255.255", ends("1.2.3.4/0"))
    assert.equal("1.2.3.4-1.2.3.4", ends("1.2.3.4/32"))
    assert.equal("1.2.3.4-1.2.3.5", ends("1.2.3.5/31"))
    assert.equal("128.0.0.0-255.255.255.255", ends("200.0.0.0/1"))
    assert.equal("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ends("1::/0"))
    assert.equal("1::2-1::2", ends("1::2/128"))
    assert.equal("fd00:0:0:8000::-fd00::ffff:ffff:ffff:ffff:ffff", ends("fd00:0:0:ffff::/49"))
    assert.equal("fd00:0:0:2::-fd00::3:ffff:ffff:ffff:ffff", ends("fd00:0:0:3::/63"))
    assert.equal("fd00:0:0:3:8000::-fd00::3:ffff:ffff:ffff:ffff", ends("fd00:0:0:3:ffff::/65"))
  end)

  it("does not mind white space around the item and the dash", function()
    for _, text in ipairs({ " 10.0.0.1-10.0.0.9 ", "10.0.0.1 - 10.0.0.9", "\n\t10.0.0.1\t-\n10.0.0.9\r\n" }) do
      assert.same({ first = "10.0.0.1", last = "10.0.0.9", family = 4, form = "range" }, address.item(text))
    end
    assert.equal("10.0.0.0", address.item(" 10.0.0.0/8\n").first)
    assert.equal("fd00::1", address.item("\vfd00::1\f").first)
  end)

  it("says what is wrong and what would be right", function()
    local cases = {
      [""] = '"" is not an address: it is empty', ["  "] = "empty",
      ["10.0.0.0/33"] = '"10.0.0.0/33": after "/" comes a number from 0 to 32', ["fd00::/129"] = "0 to 128",
      ["10.0.0.0/"] = "0 to 32", ["10.0.0.0/08"] = "leading zeros", ["10.0.0.0/00"] = "leading zeros",
      ["10.0.0.0/+8"] = "0 to 32", ["10.0.0.0/ 8"] = "0 to 32", ["10.0.0.0/8 /8"] = "0 to 32",
      ["10.0.0.0/99999999999999999999"] = "0 to 32", ["10.0.0.0/4294967304"] = "0 to 32",
      ["10.0.0.0/255.0.0.0"] = "0 to 32", ["10.0.0.0/8/8"] = "0 to 32",
      ["/24"] = "empty", ["10.0.0/24"] = '"10.0.0" is not an address: an IPv4 address is four numbers',
      ["10.0.0.9-10.0.0.1"] = "lower address first", ["10.0.0.1-fd00::1"] = "both are IPv6",
      ["10.0.0.1-"] = "empty", ["-10.0.0.1"] = "empty", ["-"] = "empty", ["10.0.0.1-5"] = '"5" is not an address',
      ["10.0.0.1-10.0.0.2-10.0.0.3"] = '"10.0.0.2-10.0.0.3" is not an address',
      ["10.0.0.0/24-10.0.1.0/24"] = "not blocks", ["10.0.0.010"] = "leading zero",
      ["::ffff:10.0.0.0/104"] = "IPv4 address alone", ["fe80::1%eth0/64"] = "zone",
      ["10.0.0.1 10.0.0.2"] = "expected an IPv4 or IPv6 address",
    }
    for text, reason in pairs(cases) do
      local item, message, code = address.item(text)
      assert.is_nil(item, text)
      assert.equal("EINVAL", code)
      assert.truthy(message:find(reason, 1, true), ("%q: %s"):format(text, message))
    end
  end)

  it("repeats no more of a bad text than is fit to print", function()
    local _, message = address.item("\27[31m\0\xff" .. ("x"):rep(100000))
    assert.is_true(#message < 400)
    assert.is_nil(message:find("[^\32-\126]"))
    assert.truthy(message:find('"?[31m??xxx', 1, true))
  end)
end)

describe("address.mask, broadcast, in_subnet, next", function()
  it("know the subnet of an address", function()
    assert.equal("10.1.0.0", address.mask("10.1.2.3", 16))
    assert.equal("10.1.255.255", address.broadcast("10.1.2.3", 16))
    assert.equal("0.0.0.0", address.mask("255.255.255.255", 0))
    assert.equal("fd00::", address.mask("fd00::1", 64))
    assert.equal("fd00::ffff:ffff:ffff:ffff", address.broadcast("fd00::1", 64))
    assert.is_true(address.in_subnet("10.1.2.3", "10.1.9.9", 16))
    assert.is_false(address.in_subnet("10.2.0.0", "10.1.0.0", 16))
    assert.is_true(address.in_subnet("fd00::1", "fd00::", 128 - 1))
    assert.is_false(address.in_subnet("10.0.0.1", "::", 0))
  end)

  it("step over the halves and stop at the end", function()
    assert.equal("10.0.1.0", address.next("10.0.0.255"))
    assert.equal("0:0:0:1::", address.next("::ffff:ffff:ffff:ffff"))
    assert.is_nil(address.next("255.255.255.255"))
    assert.is_nil(address.next("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
  end)

  it("raise for a prefix that the family does not have", function()
    assert.has_error(function() address.mask("10.0.0.1", 33) end)
    assert.has_error(function() address.broadcast("fd00::1", 129) end)
    assert.has_error(function() address.in_subnet("10.0.0.1", "10.0.0.0", -1) end)
    assert.has_error(function() address.mask("10.0.0.1", 8.5) end)
  end)
end)

describe("address.set", function()
  local all_ipv6 = "::/0"

  it("merges what touches, in any order, and nothing else", function()
    assert.equal("10.0.0.0-10.0.1.255", ranges_text(set_of("10.0.1.0/24", "10.0.0.0/24")))
    assert.equal("10.0.0.1 10.0.0.3", ranges_text(set_of("10.0.0.3", "10.0.0.1")))
    assert.equal("10.0.0.1-10.0.0.3", ranges_text(set_of("10.0.0.3", "10.0.0.1", "10.0.0.2")))
    assert.equal("10.0.0.1-10.0.0.9", ranges_text(set_of("10.0.0.2", "10.0.0.4-10.0.0.6", "10.0.0.8",
      "10.0.0.1-10.0.0.9")))
    assert.equal("10.0.0.1-10.0.0.20", ranges_text(set_of("10.0.0.5-10.0.0.20", "10.0.0.9-10.0.0.10",
      "10.0.0.1-10.0.0.6")))
    assert.equal("::fffe-::1:1", ranges_text(set_of("::1:0-::1:1", "::fffe-::ffff")))
    assert.equal("::ffff:ffff:ffff:ffff-0:0:0:1::", ranges_text(set_of("0:0:0:1::", "::ffff:ffff:ffff:ffff")))
  end)

  it("splits on remove, trims, and takes whole ranges", function()
    local set = set_of("10.0.0.0/24")
    set:remove("10.0.0.10", "10.0.0.19")
    assert.equal("10.0.0.0-10.0.0.9 10.0.0.20-10.0.0.255", ranges_text(set))
    set:remove("10.0.0.0")
    set:remove("10.0.0.255")
    set:remove("9.0.0.0", "10.0.0.0")
    assert.equal("10.0.0.1-10.0.0.9 10.0.0.20-10.0.0.254", ranges_text(set))
    set:remove("10.0.0.9", "10.0.0.20")
    assert.equal("10.0.0.1-10.0.0.8 10.0.0.21-10.0.0.254", ranges_text(set))
    set:remove("0.0.0.0", "255.255.255.255")
    assert.is_true(set:is_empty())
    set:remove("10.0.0.1")
    assert.same({}, set:ranges())
  end)

  it("does not wrap at the ends of the address space", function()
    local set = set_of("0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
    assert.equal("0.0.0.0 255.255.255.255", ranges_text(set, 4))
    assert.equal(":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ranges_text(set, 6))
    set:add("0.0.0.0", "255.255.255.255")
    set:add("255.255.255.254", "255.255.255.255")
    set:add("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
    assert.equal("0.0.0.0-255.255.255.255 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ranges_text(set))
    set:remove("255.255.255.255")
    set:remove("0.0.0.0")
    set:remove("::")
    set:remove("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
    assert.equal("0.0.0.1-255.255.255.254 ::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", ranges_text(set))
  end)

  it("counts: an integer, or a float past 2^63", function()
    assert.equal(0, address.set():size(4))
    assert.equal("integer", math.type(set_of("0.0.0.0/0"):size(4)))
    assert.equal(2 ^ 32 | 0, set_of("0.0.0.0/0"):size(4))
    assert.equal(256 + 1, set_of("10.0.0.0/24", "10.0.2.1", "fd00::/64"):size(4))
    assert.equal(2 ^ 62 | 0, set_of("fd00::/66"):size(6))
    assert.equal("integer", math.type(set_of("fd00::/66"):size(6)))
    assert.equal(2 ^ 63, set_of("fd00::/65"):size(6))
    assert.equal("float", math.type(set_of("fd00::/65"):size(6)))
    assert.equal(2 ^ 64, set_of("fd00::/64"):size(6))
    assert.equal(2 ^ 65, set_of("fd00::/64", "fe00::/64"):size(6))
    assert.equal(2 ^ 127, set_of("8000::/1"):size(6))
    assert.equal(2 ^ 128, set_of(all_ipv6):size(6))
  end)

  it("keeps copies apart", function()
    local set = set_of("10.0.0.0/24", "fd00::/64")
    local copy = set:copy()
    copy:remove("10.0.0.7")
    set:add("10.0.1.0")
    assert.equal("10.0.0.0-10.0.1.0 fd00::-fd00::ffff:ffff:ffff:ffff", ranges_text(set))
    assert.equal("10.0.0.0-10.0.0.6 10.0.0.8-10.0.0.255 fd00::-fd00::ffff:ffff:ffff:ffff", ranges_text(copy))
  end)

  it("joins and subtracts sets in place, also itself", function()
    local set = set_of("10.0.0.0/24")
    set:union(set_of("10.0.2.0/24", "fd00::1"))
    set:union(set)
    assert.equal("10.0.0.0-10.0.0.255 10.0.2.0-10.0.2.255 fd00::1", ranges_text(set))
    set:subtract(set_of("10.0.0.128-10.0.2.127", "fd00::/64"))
    assert.equal("10.0.0.0-10.0.0.127 10.0.2.128-10.0.2.255", ranges_text(set))
    set:subtract(set)
    assert.is_true(set:is_empty())
  end)

  it("knows whether a family has any address", function()
    local set = set_of("fd00::1")
    assert.is_false(set:is_empty())
    assert.is_true(set:is_empty(4))
    assert.is_false(set:is_empty(6))
  end)

  it("raises for misuse", function()
    local set = address.set()
    assert.error_matches(function() set:add("10.0.0.300") end, "not an address")
    assert.error_matches(function() set:add("10.0.0.2", "10.0.0.1") end, "ends before it starts")
    assert.error_matches(function() set:add("10.0.0.2", "fd00::") end, "family")
    assert.error_matches(function() set:contains("") end, "empty")
    assert.error_matches(function() set:size(5) end, "family 4 or 6")
    assert.error_matches(function() set:size() end, "number expected")
    assert.error_matches(function() set:free({}, 4) end, "moonlb.core.address.set expected")
    assert.error_matches(function() set.add({}, "10.0.0.1") end, "moonlb.core.address.set expected")
  end)
end)

describe("set:free", function()
  it("gives the lowest, or the highest, that is not taken", function()
    local pool, taken = set_of("10.0.0.1-10.0.0.9", "10.0.3.1-10.0.3.3"), address.set()
    assert.equal("10.0.0.1", pool:free(taken, 4))
    assert.equal("10.0.3.3", pool:free(taken, 4, true))
    taken:add("10.0.0.1", "10.0.0.4")
    taken:add("10.0.3.2", "10.0.3.9")
    assert.equal("10.0.0.5", pool:free(taken, 4))
    assert.equal("10.0.3.1", pool:free(taken, 4, true))
    taken:add("10.0.0.1", "10.0.3.1")
    assert.is_nil(pool:free(taken, 4))
    assert.is_nil(pool:free(taken, 4, true))
    assert.is_nil(pool:free(taken, 6))
    assert.is_nil(address.set():free(taken, 4))
  end)

  it("never gives an IPv4 address that ends in .0 or .255, whatever the mask", function()
    local pool = set_of("10.0.0.0/23", "10.0.9.255", "10.0.10.0")
    local taken, given = address.set(), {}
    for i = 1, 600 do
      local free = pool:free(taken, 4, i % 2 == 0)
      if not free then break end
      assert.is_nil(free:find("%.0$") or free:find("%.255$"), free)
      given[#given + 1] = free
      taken:add(free)
    end
    assert.equal(508, #given)
    assert.is_nil(set_of("10.0.0.0/32"):free(address.set(), 4))
    assert.is_nil(set_of("10.0.0.255-10.0.1.0"):free(address.set(), 4, true))
  end)

  it("gives IPv6 addresses that end in 0 and ff", function()
    local pool = set_of("fd00::/126")
    assert.equal("fd00::", pool:free(address.set(), 6))
    assert.equal("fd00::ff", set_of("fd00::f0-fd00::ff"):free(address.set(), 6, true))
  end)

  it("adds the endings that it met to what is taken, so that full stretches are one range", function()
    local pool, taken = set_of("10.0.0.0/8"), address.set()
    for block = 0, 99 do taken:add("10.0." .. block .. ".1", "10.0." .. block .. ".254") end
    assert.equal("10.0.100.1", pool:free(taken, 4))
    assert.equal("10.0.0.0-10.0.100.0", ranges_text(taken))
    assert.equal("10.255.255.254", pool:free(taken, 4, true))
    assert.equal("10.0.0.0-10.0.100.0 10.255.255.255", ranges_text(taken))
  end)

  it("steps over pool ranges that one taken range covers", function()
    local pool = set_of("10.0.0.1", "10.0.0.3", "10.0.0.5", "10.0.0.7-10.0.0.9", "10.0.0.11")
    local taken = set_of("10.0.0.1-10.0.0.7")
    assert.equal("10.0.0.8", pool:free(taken, 4))
    taken = set_of("10.0.0.8-10.0.0.20")
    assert.equal("10.0.0.7", pool:free(taken, 4, true))
    taken = set_of("10.0.0.4-10.0.0.20")
    assert.equal("10.0.0.3", pool:free(taken, 4, true))
  end)

  it("works at the ends of the address space", function()
    local pool, taken = set_of("0.0.0.0/0"), address.set()
    assert.equal("0.0.0.1", pool:free(taken, 4))
    assert.equal("255.255.255.254", pool:free(taken, 4, true))
    taken:add("0.0.0.0", "255.255.255.255")
    assert.is_nil(pool:free(taken, 4))
    pool = set_of("::/0")
    taken:add("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
    assert.equal("::", pool:free(taken, 6))
    assert.equal("::", pool:free(taken, 6, true))
    taken:add("::")
    assert.is_nil(pool:free(taken, 6))
    assert.is_nil(pool:free(taken, 6, true))
  end)

  it("is given the pool itself as taken: nothing is free", function()
    local pool = set_of("10.0.0.0/24")
    assert.is_nil(pool:free(pool, 4))
    assert.equal("10.0.0.0-10.0.0.255", ranges_text(pool))
  end)
end)

describe("set:free_count", function()
  it("counts what free would give", function()
    local pool = set_of("10.0.0.0/23", "fd00::/64")
    assert.equal(508, pool:free_count(address.set(), 4))
    assert.equal(507, pool:free_count(set_of("10.0.0.7", "10.0.0.255", "9.0.0.0/8"), 4))
    assert.equal(0, pool:free_count(set_of("10.0.0.0/8"), 4))
    assert.equal(254, pool:free_count(set_of("10.0.0.0/24"), 4))
    assert.equal(2 ^ 64, pool:free_count(address.set(), 6))
    assert.equal(2 ^ 24 - 2 ^ 17 | 0, set_of("10.0.0.0/8"):free_count(address.set(), 4))
    assert.equal(2 ^ 32 - 2 ^ 25 | 0, set_of("0.0.0.0/0"):free_count(address.set(), 4))
  end)
end)

describe("address.hash", function()
  it("picks for ever the same address", function()
    local pool = set_of("10.0.0.0/16")
    assert.equal("10.0.61.253", address.hash("default/web", pool, 4))
    assert.equal(address.hash("default/web", pool, 4), address.hash("default/web", pool:copy(), 4))
    assert.is_nil(address.hash("default/web", pool, 6))
  end)

  it("picks addresses of the set alone, no endings, and each about as often", function()
    local pool, seen, picked = set_of("10.0.0.250-10.0.1.5", "10.0.9.7"), {}, 0
    for i = 1, 2200 do
      local address_text = address.hash("namespace/service-" .. i, pool, 4)
      assert.is_true(pool:contains(address_text))
      if not seen[address_text] then picked = picked + 1 end
      seen[address_text] = (seen[address_text] or 0) + 1
    end
    assert.equal(11, picked) -- .250 to .254, .1 to .5, and the single one
    for text, count in pairs(seen) do assert.is_true(count > 120 and count < 280, text .. " " .. count) end
  end)

  it("copes with sets larger than 64 bits", function()
    for _, text in ipairs({ "fd00::/64", "fd00::/8", "::/0", "fd00::ff00:0:0:0-fd01::5" }) do
      local pool = set_of(text)
      assert.is_true(pool:contains(address.hash("a", pool, 6)), text)
      assert.not_equal(address.hash("a", pool, 6), address.hash("b", pool, 6))
    end
    assert.is_nil(address.hash("a", set_of("10.0.0.0"), 4))
  end)
end)

describe("a set, against a naive model", function()
  local width = 700
  local windows = {
    { family = 4, text = function(n) return ("0.0.%d.%d"):format(n >> 8, n & 255) end },
    { family = 4, text = function(n) n = 0xffffffff - width + 1 + n
      return ("%d.%d.%d.%d"):format(n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255) end },
    { family = 4, text = function(n) return ("10.0.%d.%d"):format(n >> 8, n & 255) end },
    { family = 6, text = function(n) return n == 0 and "::" or ("::%x"):format(n) end },
    { family = 6, text = function(n)
      return ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:%x"):format(0xffff - width + 1 + n) end },
    { family = 6, text = function(n) n = n - width // 2
      if n == 0 then return "0:0:0:1::" end
      return n > 0 and ("::1:0:0:0:%x"):format(n) or ("::ffff:ffff:ffff:%x"):format(0x10000 + n) end },
  }

  local function is_ending(window, n)
    local text = window.text(n)
    return window.family == 4 and (text:find("%.0$") or text:find("%.255$")) ~= nil
  end

  local function model_ranges(window, model)
    local out, n = {}, 0
    while n < width do
      if model[n] then
        local first = n
        while model[n + 1] do n = n + 1 end
        out[#out + 1] = { first = window.text(first), last = window.text(n) }
      end
      n = n + 1
    end
    return out
  end

  local function model_free(window, pool, taken, from_end)
    local free, count = nil, 0
    for n = 0, width - 1 do
      if pool[n] and not taken[n] and not is_ending(window, n) then
        count = count + 1
        if from_end or not free then free = n end
      end
    end
    return free and window.text(free), count
  end

  local function check_free(window, pool, taken, model_pool, model_taken)
    local from_end = math.random(2) == 1
    local expected, count = model_free(window, model_pool, model_taken, from_end)
    assert.equal(count, pool:free_count(taken, window.family))
    local scratch = taken:copy()
    assert.equal(expected, pool:free(scratch, window.family, from_end))
    for n = 0, width - 1 do -- only endings of the pool were added
      if scratch:contains(window.text(n)) then
        assert.is_true(model_taken[n] or model_pool[n] and is_ending(window, n), window.text(n))
      end
    end
  end

  local function step(window, sets, models)
    local which = math.random(2)
    local set, model = sets[which], models[which]
    local first = math.random(0, width - 1)
    local last = math.min(width - 1, first + math.random(0, math.random(2) == 1 and 3 or 120))
    local is_add = math.random(100) <= 55
    set[is_add and "add" or "remove"](set, window.text(first), window.text(last))
    local touched = false
    for n = first, last do model[n] = is_add or nil end
    for n = first, math.min(width - 1, last + 20) do touched = touched or model[n] == true end
    assert.equal(touched, set:intersects(window.text(first), window.text(math.min(width - 1, last + 20))))
    assert.equal(model[last] == true, set:contains(window.text(last)))
  end

  local function verify(window, sets, models)
    local size = 0
    for n = 0, width - 1 do size = size + (models[1][n] and 1 or 0) end
    assert.equal(size, sets[1]:size(window.family))
    assert.same(model_ranges(window, models[1]), sets[1]:ranges(window.family))
    check_free(window, sets[1], sets[2], models[1], models[2])
    local union, difference = sets[1]:copy(), sets[1]:copy()
    union:union(sets[2])
    difference:subtract(sets[2])
    local model_union, model_difference = {}, {}
    for n = 0, width - 1 do
      model_union[n] = models[1][n] or models[2][n]
      model_difference[n] = models[1][n] and not models[2][n] or nil
    end
    assert.same(model_ranges(window, model_union), union:ranges())
    assert.same(model_ranges(window, model_difference), difference:ranges())
  end

  local function run(window, seed)
    math.randomseed(seed)
    local sets, models = { address.set(), address.set() }, { {}, {} }
    for i = 1, 240 do
      step(window, sets, models)
      if i % 12 == 0 then verify(window, sets, models) end
    end
  end

  -- MOONLB_SEED=n repeats one sequence.
  local seed = tonumber(os.getenv("MOONLB_SEED")) or os.time()
  for i, window in ipairs(windows) do
    it(("agrees in every operation, from %s on"):format(window.text(0)), function()
      local ok, err = pcall(run, window, seed + i)
      if ok then return end
      local message = type(err) == "table" and err.message or err
      error(("MOONLB_SEED=%d: %s"):format(seed, tostring(message)), 0)
    end)
  end
end)

describe("address.distance and address.add", function()
  it("count addresses, over the whole of each family", function()
    for _, case in ipairs({ { "10.0.0.250", "10.0.1.4", 10 }, { "0.0.0.0", "255.255.255.255", 4294967295 },
      { "fd00::ffff:ffff:ffff:ffff", "fd00:0:0:1::1", 2 }, { "fd00::", "fd00::20:0:0:0", 1 << 53 } }) do
      assert.equal(case[3], address.distance(case[1], case[2]))
      assert.equal(-case[3], address.distance(case[2], case[1]))
      assert.equal(case[2], address.add(case[1], case[3] // 1 | 0))
    end
    assert.equal(2.0 ^ 127, address.distance("::", "8000::"))
    assert.equal("integer", math.type(address.distance("::", "::9")))
  end)

  it("end with the family", function()
    assert.equal("255.255.255.255", address.add("255.255.255.250", 5))
    assert.is_nil(address.add("255.255.255.250", 6))
    assert.is_nil(address.add("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1))
    assert.equal("fd00:0:0:1::", address.add("fd00::ffff:ffff:ffff:ffff", 1))
  end)

  it("are misused by two families, or a negative count", function()
    assert.has_error(function() address.distance("10.0.0.1", "fd00::1") end)
    assert.has_error(function() address.add("10.0.0.1", -1) end)
  end)
end)
