local overwrites = require("moonlb.allocator.overwrites")

local function service(version, address)
  return { metadata = { resourceVersion = tostring(version),
    annotations = { ["kube-vip.io/loadbalancerIPs"] = address },
    labels = { implementation = "kube-vip" } }, spec = { loadBalancerIP = address } }
end

describe("overwrites.saw", function()
  local time, book

  before_each(function()
    time = 100
    book = overwrites.new({ now = function() return time end })
  end)

  it("counts overwrites within 10 s of our writes", function()
    book:wrote("ns/a", service(1, "10.0.0.1"))
    assert.equal(1, book:saw("ns/a", service(2, "10.9.9.9")))
    time = 103
    book:wrote("ns/a", service(3, "10.0.0.1"))
    assert.equal(2, book:saw("ns/a", service(4, "10.9.9.9")))
  end)

  it("counts one overwrite once, however many events follow", function()
    book:wrote("ns/a", service(1, "10.0.0.1"))
    assert.equal(1, book:saw("ns/a", service(2, "10.9.9.9")))
    for version = 3, 9 do assert.is_nil(book:saw("ns/a", service(version, "10.9.9.9"))) end
  end)

  it("takes a change after 10 s for a user's", function()
    for i = 1, 5 do
      book:wrote("ns/a", service(2 * i, "10.0.0.1"))
      time = time + overwrites.WINDOW + 1
      assert.is_nil(book:saw("ns/a", service(2 * i + 1, "10.9.9.9")))
    end
  end)

  it("does not mind changes of other fields, nor our own write's event", function()
    book:wrote("ns/a", service(1, "10.0.0.1"))
    assert.is_nil(book:saw("ns/a", service(1, "10.0.0.1")))
    assert.is_nil(book:saw("ns/a", service(3, "10.0.0.1")))
    assert.equal(1, book:saw("ns/a", service(4, "10.9.9.9")))
  end)
end)

describe("overwrites.excuse", function()
  it("begins a new row: a person's edits do not add up with what follows", function()
    local book = overwrites.new({ now = function() return 100 end })
    for version = 1, 9, 2 do
      book:wrote("ns/a", service(version, "10.0.0.1"))
      assert.equal(1, book:saw("ns/a", service(version + 1, "10.9.9." .. version)))
      book:excuse("ns/a")
    end
  end)
end)

describe("overwrites.wrote", function()
  it("remembers the writes of the last seconds alone", function()
    local time = 100
    local book = overwrites.new({ now = function() return time end })
    for i = 1, 1000 do
      book:wrote("ns/" .. i, service(i, "10.0.0.1"))
      time = time + 1
    end
    local count = 0
    for _ in pairs(book.written) do count = count + 1 end
    assert.is_true(count <= overwrites.WINDOW + 2)
    assert.equal(count, book.last - book.first + 1)
  end)
end)

describe("overwrites.halt", function()
  it("leaves the Service alone for a while", function()
    local time = 100
    local book = overwrites.new({ now = function() return time end })
    book:halt("ns/a")
    assert.equal(overwrites.HALT, book:pause("ns/a"))
    assert.is_nil(book:pause("ns/b"))
    time = 100 + overwrites.HALT
    assert.is_nil(book:pause("ns/a"))
  end)
end)

describe("overwrites.manager", function()
  local ours = { ["f:metadata"] = { ["f:annotations"] = { ["f:moonlb.io/assigned"] = {} } } }
  local spec = { ["f:spec"] = { ["f:loadBalancerIP"] = {} } }

  it("names who wrote our fields last, and is not us", function()
    assert.equal("other-ccm", overwrites.manager({ metadata = { managedFields = {
      { manager = "older-ccm", time = "2026-01-01T00:00:00Z", fieldsV1 = spec },
      { manager = "other-ccm", time = "2026-01-01T00:00:09Z", fieldsV1 = spec },
      { manager = "kubelet", time = "2026-01-01T00:00:10Z", fieldsV1 = { ["f:status"] = {} } },
      { manager = "moonlb", time = "2026-01-01T00:00:11Z", fieldsV1 = ours },
    } } }, "moonlb"))
  end)

  it("names nobody where the server keeps no managedFields", function()
    assert.is_nil(overwrites.manager({ metadata = {} }, "moonlb"))
  end)

  it("knows people by kubectl", function()
    assert.is_true(overwrites.is_person("kubectl-edit"))
    assert.is_false(overwrites.is_person("argocd-controller"))
  end)
end)
