--- Who holds which address, and which addresses nobody may be given.
local ownership = require("moonlb.allocator.ownership")

local function fixture()
  local clock = { now = 100 }
  local index = ownership.new({ now = function() return clock.now end, utc = function() return clock.now end })
  return index, clock
end

local function record(name, holds, created)
  return { key = "a/" .. name, namespace = "a", name = name, created = created or "1", holds = holds }
end

local function keys(index, address)
  local list = {}
  for i, holder in ipairs(index:holders(address)) do list[i] = holder.key end
  return list
end

describe("Ownership:replace", function()
  it("moves a Service from its old addresses to its new ones", function()
    local index = fixture()
    local old, new = record("s", { ["10.0.0.1"] = 3, ["10.0.0.2"] = 3 }), record("s", { ["10.0.0.2"] = 3 })
    assert.is_false(index:replace(nil, old, true))
    assert.is_true(index:replace(old, new, true))
    assert.is_false(index:is_held("10.0.0.1"))
    assert.equal(new, index:holders("10.0.0.2")[1])
  end)

  it("knows several holders of one address, oldest first, whichever came first", function()
    for _, order in ipairs({ { 1, 2, 3 }, { 3, 2, 1 }, { 2, 3, 1 } }) do
      local index = fixture()
      for _, n in ipairs(order) do
        index:replace(nil, record("s" .. n, { ["10.0.0.1"] = 1 }, tostring(n)), true)
      end
      assert.same({ "a/s1", "a/s2", "a/s3" }, keys(index, "10.0.0.1"))
    end
  end)

  it("frees an address when its last holder lets go", function()
    local index, clock = fixture()
    local one, two = record("one", { ["10.0.0.1"] = 3 }), record("two", { ["10.0.0.1"] = 3 })
    index:replace(nil, one, true)
    index:replace(nil, two, true)
    index:replace(one, nil, true)
    assert.same({ "a/two" }, keys(index, "10.0.0.1"))
    index:replace(two, nil, true)
    assert.same({}, keys(index, "10.0.0.1"))
    assert.is_true(index.taken:contains("10.0.0.1"))
    clock.now = 105
    assert.is_true(index:expire())
    assert.is_false(index.taken:contains("10.0.0.1"))
    assert.is_false(index:expire())
  end)
end)

describe("resting", function()
  it("ends when the address gets a holder, and begins anew when that one lets go", function()
    local index, clock = fixture()
    local first, second = record("one", { ["10.0.0.1"] = 3 }), record("two", { ["10.0.0.1"] = 3 })
    index:replace(nil, first, true)
    index:replace(first, nil, true)
    clock.now = 103
    index:replace(nil, second, true)
    index:replace(second, nil, true)
    clock.now = 106
    index:expire()
    assert.is_true(index.taken:contains("10.0.0.1"))
    clock.now = 108
    index:expire()
    assert.is_false(index.taken:contains("10.0.0.1"))
  end)

  it("leaves nothing behind", function()
    local index, clock = fixture()
    for i = 1, 200 do
      local holder = record("s" .. i, { ["10.0.0." .. i] = 3 })
      index:replace(nil, holder, true)
      index:replace(holder, nil, true)
    end
    clock.now = 200
    index:expire()
    assert.is_nil(next(index.rest_queue))
    assert.is_nil(next(index.resting))
    assert.is_true(index.taken:is_empty())
  end)
end)

describe("Ownership:exclude", function()
  it("may be for several reasons; each ends by itself", function()
    local index = fixture()
    assert.is_true(index:exclude("10.0.0.0/30", "network"))
    index:exclude("10.0.0.2", "gateway")
    index:exclude("10.0.0.2", "gateway")
    assert.equal("network", index:why_excluded("10.0.0.2"))
    index:unexclude("10.0.0.0/30", "network")
    assert.equal("gateway", index:why_excluded("10.0.0.2"))
    assert.is_nil(index:why_excluded("10.0.0.1"))
    assert.is_false(index.taken:contains("10.0.0.1"))
    index:unexclude("10.0.0.2", "gateway")
    assert.is_true(index.taken:is_empty())
  end)

  it("does not free what is held", function()
    local index = fixture()
    index:replace(nil, record("s", { ["10.0.0.1"] = 3 }), true)
    index:exclude("10.0.0.0/24", "x")
    index:unexclude("10.0.0.0/24", "x")
    assert.same({ { first = "10.0.0.1", last = "10.0.0.1" } }, index.taken:ranges())
  end)

  it("says what is wrong with a text", function()
    local ok, message, code = fixture():exclude("10.0.0.0/77", "x")
    assert.is_nil(ok)
    assert.equal("EINVAL", code)
    assert.truthy(message:find("10.0.0.0/77", 1, true))
  end)
end)

describe("quarantine", function()
  it("ends at its time, and one that is over does not begin", function()
    local index, clock = fixture()
    index:set_quarantine("10.0.0.1", 160, "stranger")
    index:set_quarantine("10.0.0.2", 90, "stranger")
    assert.equal("stranger", index:why_excluded("10.0.0.1"))
    assert.is_nil(index:why_excluded("10.0.0.2"))
    assert.equal(60, index:next_expiry())
    clock.now = 160
    assert.is_true(index:expire())
    assert.is_nil(index:why_excluded("10.0.0.1"))
    assert.is_nil(index:next_expiry())
  end)
end)
