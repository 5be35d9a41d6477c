--- Pools: which address is next, how full they are.
local allocation = require("spec.support.allocation")

local service = allocation.service

local function book_of(data, ...)
  local c = allocation.cluster(data)
  for i, address in ipairs({ ... }) do c:put(service("used/s" .. i, { assigned = address .. " default/static" })) end
  c:put(service("a/web", { created = 9 }))
  return c.engine.state.pools, c.engine.state.services["a/web"], c
end

describe("Pool:free", function()
  it("is the lowest free address of the union, whatever the order of its items", function()
    local book, record = book_of({ ["cidr-global"] = "10.9.0.1-10.9.0.9,10.2.0.1-10.2.0.9" }, "10.2.0.1", "10.2.0.3")
    assert.same({ "10.2.0.2" }, (book:global():free({ record = record })))
  end)

  it("is the highest with search-order desc", function()
    local book, record = book_of({ ["cidr-global"] = "10.9.0.1-10.9.0.9,10.2.0.1-10.2.0.9", ["search-order"] = "desc" },
      "10.9.0.9")
    assert.same({ "10.9.0.8" }, (book:global():free({ record = record })))
  end)

  it("goes to the range when the block is full", function()
    local book, record = book_of({ ["cidr-a"] = "10.9.0.2/31", ["range-a"] = "10.1.0.1-10.1.0.9" }, "10.9.0.2")
    local found, key = book:namespace("a"):free({ record = record })
    assert.same({ { "10.9.0.3" }, "cidr-a" }, { found, key })
    book, record = book_of({ ["cidr-a"] = "10.9.0.2/31", ["range-a"] = "10.1.0.1-10.1.0.9" }, "10.9.0.2", "10.9.0.3")
    found, key = book:namespace("a"):free({ record = record })
    assert.same({ { "10.1.0.1" }, "range-a" }, { found, key })
  end)

  it("never ends in .0 or .255, for IPv4", function()
    local book, record = book_of({ ["cidr-global"] = "10.0.0.255-10.0.1.0" })
    local found, why = book:global():free({ record = record })
    assert.is_nil(found)
    assert.equal("cidr-global has no addresses", why)
  end)

  it("gives several at once, all different, and takes none", function()
    local book, record = book_of({ ["cidr-global"] = "10.0.0.0/29" }, "10.0.0.2")
    local pool = book:global()
    for _ = 1, 2 do
      assert.same({ "10.0.0.1", "10.0.0.3", "10.0.0.4" }, (pool:free({ record = record, n = 3 })))
    end
    assert.is_nil((pool:free({ record = record, n = 7 })))
    assert.equal(1, pool:used(4))
  end)

  it("prefers an address that is free, or one that a text's hash picks, always the same", function()
    local book, record = book_of({ ["cidr-global"] = "10.0.0.0/24" }, "10.0.0.50")
    local pool = book:global()
    assert.same({ "10.0.0.70" }, (pool:free({ record = record, prefer = "10.0.0.70" })))
    assert.same({ "10.0.0.1" }, (pool:free({ record = record, prefer = "10.0.0.50" })))
    assert.same({ "10.0.0.1" }, (pool:free({ record = record, prefer = "10.0.0.0" })))
    local first = pool:free({ record = record, prefer = "shop/web" })
    assert.same(first, (pool:free({ record = record, prefer = "shop/web" })))
    assert.are_not.same(first, (pool:free({ record = record, prefer = "shop/api" })))
  end)

  it("says which pool is full and how many of how many are used", function()
    local book, record = book_of({ ["cidr-global"] = "10.0.0.4/31" }, "10.0.0.4", "10.0.0.5")
    local found, why, full = book:global():free({ record = record })
    assert.is_nil(found)
    assert.equal("cidr-global is full: 2 of 2 IPv4 addresses used", why)
    assert.same({ pool = "cidr-global", family = 4, used = 2, size = 2 }, full)
  end)

  it("says how many are left where several are asked for", function()
    local book, record = book_of({ ["cidr-global"] = "10.0.0.0/29" }, "10.0.0.2")
    local found, why, full = book:global():free({ record = record, n = 7 })
    assert.is_nil(found)
    assert.equal("cidr-global has too few left: 1 of 7 IPv4 addresses used", why)
    assert.same({ pool = "cidr-global", family = 4, used = 1, size = 7 }, full)
  end)

  it("counts in a pool of 2^64 addresses as in any other", function()
    local book, record, c = book_of({ ["cidr-global"] = "fd00:9::/64" }, "fd00:9::5")
    local pool = book:global()
    assert.equal(1, pool:used(6))
    c.engine:exclude("fd00:9::1:0-fd00:9::ffff:ffff:ffff:fffe", "test")
    for i = 0, 65535, 4096 do c.engine:exclude(("fd00:9::%x-fd00:9::%x"):format(i, i + 4095), "test") end
    local found, why, full = pool:free({ record = record, family = 6, n = 2 })
    assert.is_nil(found)
    assert.equal(2.0 ^ 64, full.size)
    assert.matches("^cidr%-global .*: 18446744073709551%d%d%d of 18446744073709551616 IPv6 addresses used$", why)
  end)

  it("gives one to share, and free ones beside it, when several are asked for", function()
    local c = allocation.cluster({ ["cidr-global"] = "fd00:9::/64", ["allow-share-global"] = "true" })
    local spec = { ipFamilies = { "IPv6" } }
    c:put(service("used/a", { assigned = "fd00:9::5 default/static", ports = { 99 }, spec = spec }))
    c:put(service("a/web", { created = 9, spec = spec }))
    local state = c.engine.state
    local pool, options = state.pools:global(), { record = state.services["a/web"], n = 2, share = true }
    for _ = 1, 2 do assert.same({ "fd00:9::5", "fd00:9::" }, (pool:free(options))) end
    assert.equal(1, pool:used(6))
  end)
end)

describe("Pool:used", function()
  it("follows every way in which an address is taken, without counting anew", function()
    local book, _, c = book_of({ ["cidr-global"] = "10.0.0.0/24,fd00::/126" })
    local pool = book:global()
    assert.equal(254, pool:size(4))
    assert.equal(0, pool:used(4))
    c:put(service("a/s1", { assigned = "10.0.0.7,fd00::1 default/global_pool" }))
    c:put(service("a/s2", { assigned = "10.0.0.255 default/static", created = 2 }))
    assert.same({ 1, 1 }, { pool:used(4), pool:used(6) })
    c:delete("a/s1")
    assert.equal(1, pool:used(4))
    c:wait(6)
    c.engine:pools()
    assert.equal(0, pool:used(4))
    c.engine:exclude("10.0.0.0/28", "test")
    assert.equal(15, pool:used(4))
    c.engine:unexclude("10.0.0.0/28", "test")
    for i = 1, 100 do c:put(service("a/t" .. i, { assigned = "10.0.0." .. i .. " default/global_pool" })) end
    assert.equal(100, pool:used(4))
  end)
end)

describe("Book:parse", function()
  it("makes a pool of text, kept for the next call; a bad item is named", function()
    local book, record = book_of({})
    local pool = book:parse("10.9.0.0/30, 10.8.0.1")
    assert.equal(pool, book:parse("10.9.0.0/30, 10.8.0.1"))
    assert.same({ "10.8.0.1" }, (pool:free({ record = record })))
    local none, message = book:parse("10.9.0.0/99")
    assert.is_nil(none)
    assert.truthy(message:find("10.9.0.0/99", 1, true))
  end)

  it("keeps a bounded number of them", function()
    local book = book_of({})
    for i = 0, 999 do assert(book:parse(("10.9.%d.%d"):format(i // 250, i % 250 + 1))) end
    assert.is_true(book.named_count <= 256)
  end)
end)
