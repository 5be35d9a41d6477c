local preprobe = require("moonlb.announcer.preprobe")
local wire = require("spec.support.wire")
require("moonlb.core.log").configure({ level = "error" })

local ETH0 = { index = 2, name = "eth0" }

describe("announcer.preprobe", function()
  local io, subject, in_use, told

  before_each(function()
    io, in_use, told = wire.new(), {}, 0
    subject = preprobe.new({ io = io, now = io.now, timer = io.after,
      link_of = function(ip) return ip:find("^10%.") and ETH0 or nil end,
      is_in_use = function(ip) return in_use[ip] ~= nil end, on_taken = function() told = told + 1 end })
  end)

  local function said() return io:take_log() end

  it("probes three times, 50 ms apart, then knows that the address is free, and goes on watching", function()
    subject:want({ "10.0.0.9" })
    io:advance(0.14)
    assert.is_false(subject:is_free("10.0.0.9"))
    io:advance(0.02)
    assert.is_true(subject:is_free("10.0.0.9"))
    assert.equal("watch@0 probe@0 probe@50 probe@100", said())
    subject:want({ "10.0.0.9" })
    assert.equal("", said())
  end)

  it("probes again in time, and what it knew holds meanwhile", function()
    subject:want({ "10.0.0.9" })
    io:advance(preprobe.REFRESH + 0.2)
    assert.is_true(subject:is_free("10.0.0.9"))
    local text = said()
    assert.matches("probe@60150", text)
  end)

  it("stops watching what is wanted no more, unless a VIP of this node does", function()
    subject:want({ "10.0.0.9", "10.0.0.10" })
    io:advance(1)
    said()
    in_use["10.0.0.10"] = true
    subject:want({ "10.0.0.11" })
    local text = said()
    assert.matches("^unwatch@1000 ", text)
    assert.equal(1, select(2, text:gsub("unwatch", "")))
    assert.is_false(subject:is_free("10.0.0.9"))
  end)

  it("leaves out what is in use here, and what is in no subnet of this node", function()
    in_use["10.0.0.9"] = true
    subject:want({ "10.0.0.9", "192.0.2.1" })
    io:advance(1)
    assert.equal("", said())
    assert.is_false(subject:is_free("192.0.2.1"))
  end)

  it("takes a stranger's word: the address is no candidate for a while, and that is told", function()
    subject:want({ "10.0.0.9" })
    io:advance(1)
    io.ours["02:00:00:00:00:02"] = true
    subject:heard({ address = "10.0.0.9", index = 2, mac = "02:00:00:00:00:02" })
    subject:heard({ address = "10.0.0.9", index = 3, mac = "02:00:00:00:00:99" })
    assert.is_true(subject:is_free("10.0.0.9"))
    subject:heard({ address = "10.0.0.9", index = 2, mac = "02:00:00:00:00:99", operation = "reply" })
    assert.is_false(subject:is_free("10.0.0.9"))
    assert.same({ ["10.0.0.9"] = "in use by 02:00:00:00:00:99 on eth0" }, subject.taken)
    assert.equal(1, told)
    subject:want({ "10.0.0.9" })
    io:advance(1)
    assert.is_false(subject:is_free("10.0.0.9"))
    io:advance(preprobe.QUARANTINE)
    assert.same({}, subject.taken)
    assert.equal(2, told)
  end)

  it("gives up on an address that cannot be probed", function()
    io.fail.probe = { "no", "ENETDOWN" }
    subject:want({ "10.0.0.9" })
    io:advance(1)
    assert.is_false(subject:is_free("10.0.0.9"))
    assert.equal("watch@0 unwatch@0", said())
  end)

  describe("on_service", function()
    local function service(probed)
      return { metadata = { annotations = { ["moonlb.io/probed"] = probed } } }
    end

    it("believes what a write says while it is news", function()
      subject:on_service(service("10.0.0.9,fd00::9"), service(nil))
      assert.is_true(subject:is_news("10.0.0.9") and subject:is_news("fd00::9"))
      io:advance(preprobe.FRESH + 0.1)
      assert.is_false(subject:is_news("10.0.0.9"))
    end)

    it("does not believe what was there when it first looked, or has not changed", function()
      subject:on_service(service("10.0.0.9"), nil)
      subject:on_service(service("10.0.0.9"), service("10.0.0.9"))
      subject:on_service(nil, service("10.0.0.9"))
      assert.is_false(subject:is_news("10.0.0.9"))
    end)
  end)
end)
