-- The Prometheus text format, and what is counted in buckets.
local exposition = require("moonlb.daemon.exposition")
local histogram = require("moonlb.histogram")

describe("exposition", function()
  it("writes a family with its samples in the order of their labels, values escaped", function()
    local page = exposition.new()
    page:family("pools", "gauge", "what it is", { { 2, { pool = "b", family = "ipv6" } },
      { 1.5, { pool = "a\"\\\n", family = "ipv4" } } })
    assert.equal("# HELP moonlb_pools what it is\n# TYPE moonlb_pools gauge\n"
      .. "moonlb_pools{family=\"ipv4\",pool=\"a\\\"\\\\\\n\"} 1.5\n"
      .. "moonlb_pools{family=\"ipv6\",pool=\"b\"} 2\n", page:text())
  end)

  it("leaves out a family without samples, and writes a lone number without labels", function()
    local page = exposition.new()
    page:counted("nothing_total", "counter", "x", "kind", {})
    page:histograms("nothing_seconds", "x", "kind", {})
    page:family("one", "gauge", "x", 7)
    assert.equal("# HELP moonlb_one x\n# TYPE moonlb_one gauge\nmoonlb_one 7\n", page:text())
  end)

  it("writes histograms with buckets that add up, to +Inf", function()
    local page, it_is = exposition.new(), histogram.new({ 0.1, 1 })
    for _, value in ipairs({ 0.05, 0.1, 0.5, 5 }) do it_is:observe(value) end
    page:histograms("wait_seconds", "x", "queue", { q = it_is })
    assert.equal("# HELP moonlb_wait_seconds x\n# TYPE moonlb_wait_seconds histogram\n"
      .. "moonlb_wait_seconds_bucket{le=\"0.1\",queue=\"q\"} 2\nmoonlb_wait_seconds_bucket{le=\"1\",queue=\"q\"} 3\n"
      .. "moonlb_wait_seconds_bucket{le=\"+Inf\",queue=\"q\"} 4\nmoonlb_wait_seconds_sum{queue=\"q\"} 5.65\n"
      .. "moonlb_wait_seconds_count{queue=\"q\"} 4\n", page:text())
  end)
end)
