local loop = require("spec.support.loop")
local pcp = require("moonlb.core.pcp")
local port_control = require("moonlb.announcer.port_control")
local wire = require("spec.support.wire")
local uv = require("luv")
require("moonlb.core.log").configure({ level = "error" })

local NONCE = "\1\2\3\4\5\6\7\8\9\10\11\12"
local WEB = { protocol = "tcp", internal_port = 80, external_port = 32380, nonce = NONCE, lifetime = 3600 }
local DNS = { protocol = "udp", internal_port = 53, external_port = 53, nonce = "other nonce.", lifetime = 600 }

-- What a router that speaks PCP says to `request`.
local function pcp_answer(request, options)
  options = options or {}
  local result = options.result or 0
  return "\2\129\0" .. string.char(result) .. (">I4I4"):pack(options.lifetime or 1800, options.epoch or 100)
    .. ("\0"):rep(12) .. request:sub(25, 42) .. (">I2"):pack(options.port or 32380)
    .. ("\0"):rep(10) .. "\255\255\192\0\3\1"
end

describe("port_control", function()
  local clock, sent, restarts, session, got

  before_each(function()
    clock, sent, restarts, got = wire.new(), {}, 0, {}
    session = port_control.new({ client = "10.77.0.9", now = clock.now, after = clock.after, random = clock.random,
      send = function(bytes)
        sent[#sent + 1] = bytes
        return true
      end,
      on_restart = function() restarts = restarts + 1 end })
  end)

  local function ask(map, patience)
    session:map(map, patience or 20, function(err, answer) got[#got + 1] = err or answer end)
    return sent[#sent]
  end

  it("gives the port and outside address that the router gave, and its lifetime", function()
    session:heard(pcp_answer(ask(WEB), { port = 40000 }))
    assert.same({ { protocol = "tcp", internal_port = 80, external_port = 40000, external_address = "192.0.3.1",
      lifetime = 1800, version = 2 } }, got)
  end)

  it("repeats what is not answered: 3 s, then doubled (RFC 6887 section 8.1.1), and gives up in time", function()
    ask(WEB)
    clock:advance(2.9)
    assert.equal(1, #sent)
    clock:advance(0.2)
    assert.equal(2, #sent)
    clock:advance(6)
    assert.equal(3, #sent)
    clock:advance(11)
    assert.equal("ETIMEDOUT", got[1].code)
    assert.matches("did not answer PCP within 20 s", got[1].message)
    clock:advance(60)
    assert.equal(3, #sent)
  end)

  it("tells answers apart by nonce, protocol and port, whatever their order", function()
    local web, dns = ask(WEB), ask(DNS)
    session:heard(pcp_answer(dns, { port = 53 }))
    session:heard(pcp_answer(web))
    assert.same({ 53, 80 }, { got[1].internal_port, got[2].internal_port })
  end)

  it("drops what answers nothing: another nonce, twice the same, garbage, an answer of its own accord", function()
    local request = ask(WEB)
    session:heard(pcp_answer(request:sub(1, 24) .. "another one." .. request:sub(37)))
    session:heard("\2\129garbage")
    session:heard(("\255"):rep(2000))
    assert.same({}, got)
    session:heard(pcp_answer(request))
    session:heard(pcp_answer(request))
    assert.equal(1, #got)
  end)

  it("says in words what the router refuses", function()
    session:heard(pcp_answer(ask(WEB), { result = 11 }))
    assert.same({ "EREFUSED", 11, "the router cannot give the outside port or address asked for" },
      { got[1].code, got[1].result, got[1].message })
  end)

  it("goes on by NAT-PMP when the router knows no more (RFC 6887 appendix A)", function()
    ask(WEB)
    ask(DNS)
    session:heard("\0\129" .. (">I2I4"):pack(1, 77))
    assert.equal(4, #sent)
    assert.equal(pcp.encode_map({ version = 0, protocol = "tcp", internal_port = 80, external_port = 32380,
      lifetime = 3600 }), sent[3])
    session:heard("\0\130" .. (">I2I4I2I2I4"):pack(0, 77, 80, 32380, 3600))
    assert.same({ protocol = "tcp", internal_port = 80, external_port = 32380, lifetime = 3600, version = 0 }, got[1])
    session:ask_address(20, function(err, answer) got[#got + 1] = err or answer.external_address end)
    session:heard("\0\128" .. (">I2I4"):pack(0, 78) .. "\192\0\3\1")
    assert.equal("192.0.3.1", got[2])
  end)

  it("does not believe NAT-PMP from a router that was not asked by it", function()
    ask(WEB)
    session:heard("\0\130" .. (">I2I4I2I2I4"):pack(0, 77, 80, 32380, 3600))
    assert.same({}, got)
  end)

  it("notices that the router lost its state, by its epoch (RFC 6887 section 8.5)", function()
    session:heard(pcp_answer(ask(WEB), { epoch = 5000 }))
    clock:advance(100)
    session:heard(pcp_answer(ask(WEB), { epoch = 5101 }))
    assert.equal(0, restarts)
    clock:advance(100)
    session:heard(pcp_answer(ask(WEB), { epoch = 40 }))
    assert.equal(1, restarts)
    session:heard("\2\128\0\0" .. (">I4I4"):pack(0, 0) .. ("\0"):rep(12))
    assert.equal(2, restarts)
  end)

  it("judges epochs with a drift of 1/16 and 2 s", function()
    local at = function(epoch, seconds) return { epoch = epoch, at = seconds } end
    assert.is_true(port_control.is_same_epoch(at(1000, 0), at(1160, 160)))
    assert.is_true(port_control.is_same_epoch(at(1000, 0), at(1168, 160)))
    assert.is_false(port_control.is_same_epoch(at(1000, 0), at(1180, 160)))
    assert.is_false(port_control.is_same_epoch(at(1000, 0), at(1140, 160)))
    assert.is_false(port_control.is_same_epoch(at(1000, 0), at(998, 1)))
    assert.is_true(port_control.is_same_epoch(at(1000, 0), at(999, 1)))
  end)

  it("ends everything that waits when it is closed, and when the wire fails", function()
    ask(WEB)
    ask(DNS)
    session:close()
    assert.same({ "ECANCELED", "ECANCELED" }, { got[1].code, got[2].code })
    clock:advance(60)
    assert.equal(2, #sent)
  end)

  it("takes a day for whatever is longer (section 15)", function()
    session:heard(pcp_answer(ask(WEB), { lifetime = 4294967295 }))
    assert.equal(86400, got[1].lifetime)
  end)
end)

describe("port_control.open", function()
  local async = require("moonlb.async")
  local runtime = require("moonlb.core.runtime")

  local function open(port)
    return assert(port_control.open({ client = "127.0.0.2", router = "127.0.0.1", port = port, now = runtime.boottime,
      after = async.timer, random = math.random }))
  end

  it("asks from the address itself and hears the answer", loop.test(function()
    local router, source = uv.new_udp(), nil
    assert(router:bind("127.0.0.1", 0))
    router:recv_start(function(_, bytes, from)
      if not bytes then return end
      source = from.ip
      router:try_send(pcp_answer(bytes), from.ip, from.port)
    end)
    local session = open(router:getsockname().port)
    local answer
    session:map(WEB, 10, function(err, value) answer = err or value end)
    loop.until_true(function() return answer end)
    assert.same({ "127.0.0.2", 32380 }, { source, answer.external_port })
    session:close()
    router:close()
  end))

  it("says at once that nobody listens there", loop.test(function()
    local unused = uv.new_udp()
    assert(unused:bind("127.0.0.1", 0))
    local port = unused:getsockname().port
    unused:close()
    local session, err = open(port), nil
    session:map(WEB, 60, function(why) err = why end)
    loop.until_true(function() return err end)
    assert.equal("ECONNREFUSED", err.code)
    session:close()
  end))

  it("says that the address is not on this node", function()
    local session, message, code = port_control.open({ client = "192.0.2.77", router = "192.0.2.1",
      now = runtime.boottime, after = async.timer, random = math.random })
    assert.is_nil(session)
    assert.equal("EADDRNOTAVAIL", code)
    assert.matches("UDP from 192.0.2.77 to 192.0.2.1", message)
  end)
end)
