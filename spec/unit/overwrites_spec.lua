local overwrites = require("moonlb.allocator.overwrites")

local function service(version, address)
  return { metadata = { resourceVersion = tostring(version),
    annotations = { ["kube-vip.io/loadbalancerIPs"] = address }, labels = { implementation = "kube-vip" } },
    spec = { loadBalancerIP = address } }
end

describe("overwrites", function()
  local time, book

  before_each(function()
    time = 100
    book = overwrites.new({ now = function() return time end })
  end)

  it("stops at the second overwrite within 10 s of our writes, for a while", function()
    book:wrote("ns/a", service(1, "10.0.0.1"))
    assert.is_false(book:saw("ns/a", service(2, "10.9.9.9")))
    time = 103
    book:wrote("ns/a", service(3, "10.0.0.1"))
    assert.is_true(book:saw("ns/a", service(4, "10.9.9.9")))
    assert.is_true(book:is_halted("ns/a"))
    time = 103 + overwrites.HALT
    assert.is_false(book:is_halted("ns/a"))
  end)

  it("counts one overwrite once, however many events follow", function()
    book:wrote("ns/a", service(1, "10.0.0.1"))
    for version = 2, 9 do assert.is_false(book:saw("ns/a", service(version, "10.9.9.9"))) end
    assert.is_false(book:is_halted("ns/a"))
  end)

  it("takes a change after 10 s for a user's", function()
    for i = 1, 5 do
      book:wrote("ns/a", service(2 * i, "10.0.0.1"))
      time = time + overwrites.WINDOW
      assert.is_false(book:saw("ns/a", service(2 * i + 1, "10.9.9.9")))
    end
  end)

  it("does not mind changes of other fields", function()
    book:wrote("ns/a", service(1, "10.0.0.1"))
    book:wrote("ns/a", service(2, "10.0.0.1"))
    assert.is_false(book:saw("ns/a", service(3, "10.0.0.1")))
    assert.is_false(book:saw("ns/a", service(4, "10.0.0.1")))
    assert.is_false(book:is_halted("ns/a"))
  end)
end)

describe("overwrites.last_manager", function()
  it("names the manager of the latest write that is not ours", function()
    local client = { get = function() return { metadata = { managedFields = {
      { manager = "kubectl", time = "2026-01-01T00:00:00Z" },
      { manager = "other-ccm", time = "2026-01-01T00:00:09Z" },
      { manager = "moonlb", time = "2026-01-01T00:00:10Z" },
    } } } end }
    assert.equal("field manager other-ccm", overwrites.last_manager(client, "/x"))
  end)
end)
