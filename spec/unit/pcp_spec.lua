--- PCP (RFC 6887) and NAT-PMP (RFC 6886), octet by octet. The vectors were written out by hand from the RFCs' pictures.
local pcp = require("moonlb.core.pcp")

local NONCE = "\1\2\3\4\5\6\7\8\9\10\11\12"

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function hex(text)
  return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function ask(changes)
  local map = { client = "10.77.0.9", nonce = NONCE, protocol = "tcp", internal_port = 8080, external_port = 32380,
    lifetime = 3600 }
  for name, value in pairs(changes or {}) do map[name] = value end
  return pcp.encode_map(map)
end

-- version 2, R and MAP, result, lifetime 3600, epoch 77; then nonce, TCP, 8080 to 32380 at 192.0.3.1
local HEADER = "02 81 00 00 00000e10 0000004d 000000000000000000000000"
local MAP = "0102030405060708090a0b0c 06 000000 1f90 7e7c 00000000000000000000ffffc0000301"

describe("pcp.encode_map", function()
  it("writes PCP's MAP request (RFC 6887 sections 7.1 and 11.1), IPv4 as IPv4-mapped IPv6 (section 5)", function()
    assert.equal(hex(bytes([[02 01 0000 00000e10 00000000000000000000ffff0a4d0009
      0102030405060708090a0b0c 06 000000 1f90 7e7c 00000000000000000000ffff00000000]])), hex(ask()))
  end)

  it("suggests the outside address of before", function()
    assert.equal("00000000000000000000ffffc0000301", hex(ask({ external_address = "192.0.3.1" }):sub(-16)))
  end)

  it("asks for an IPv6 pinhole with addresses as they are", function()
    local request = ask({ client = "fd77::9", protocol = "udp" })
    assert.equal("fd770000000000000000000000000009", hex(request:sub(9, 24)))
    assert.equal(17, request:byte(37))
    assert.equal(("0"):rep(32), hex(request:sub(-16)))
  end)

  it("deletes with lifetime 0 (RFC 6887 section 15)", function()
    assert.equal("00000000", hex(ask({ lifetime = 0 }):sub(5, 8)))
  end)

  it("writes NAT-PMP's requests (RFC 6886 sections 3.2 to 3.4)", function()
    assert.equal("0000", hex(pcp.encode_address()))
    assert.equal("000200001f907e7c00000e10", hex(ask({ version = 0 })))
    assert.equal("000100001f907e7c00000e10", hex(ask({ version = 0, protocol = "udp" })))
    assert.equal("000200001f90000000000000", hex(ask({ version = 0, lifetime = 0 })))
  end)

  it("raises for what cannot be asked, and names the field", function()
    assert.error_matches(function() ask({ protocol = "sctp" }) end, "protocol: tcp or udp expected, got sctp")
    assert.error_matches(function() ask({ nonce = "short" }) end, "nonce: 12 bytes expected, got 5")
    assert.error_matches(function() ask({ internal_port = 65536 }) end, "internal_port")
    assert.error_matches(function() ask({ version = 1 }) end, "version: 0 %(NAT%-PMP%) or 2 %(PCP%) expected, got 1")
    assert.error_matches(function() ask({ client = "gateway" }) end, "not an address")
  end)
end)

describe("pcp.decode", function()
  it("reads a MAP answer (RFC 6887 section 11.1)", function()
    assert.same({ version = 2, type = "map", result = 0, result_text = "success", lifetime = 3600, epoch = 77,
      nonce = NONCE, protocol = "tcp", internal_port = 8080, external_port = 32380, external_address = "192.0.3.1" },
      pcp.decode(bytes(HEADER .. MAP)))
  end)

  it("steps over options (section 7.3)", function()
    assert.equal(32380, pcp.decode(bytes(HEADER .. MAP .. "02000000")).external_port)
  end)

  it("puts a refusal in words, also one without the operation's part", function()
    local answer = pcp.decode(bytes("02 81 00 02 0000001e 0000004d 000000000000000000000000"))
    assert.same({ "other", 2, 30, "the router refuses it (not authorized)" },
      { answer.type, answer.result, answer.lifetime, answer.result_text })
    assert.equal("there is another NAT between this node and the router",
      pcp.decode(bytes("02 81 00 0c 0000001e 0000004d 000000000000000000000000" .. MAP)).result_text)
  end)

  it("tells a router that speaks NAT-PMP alone by its version (RFC 6887 appendix A)", function()
    local answer = pcp.decode(bytes("00 81 0001 0000004d"))
    assert.same({ 0, 1, "the router does not speak this version" },
      { answer.version, answer.result, answer.result_text })
  end)

  it("reads NAT-PMP's answers (RFC 6886 sections 3.2 and 3.3)", function()
    assert.equal("192.0.3.1", pcp.decode(bytes("00 80 0000 0000004d c0000301")).external_address)
    local answer = pcp.decode(bytes("00 82 0000 0000004d 1f90 7e7c 00000e10"))
    assert.same({ "map", "tcp", 8080, 32380, 3600 }, { answer.type, answer.protocol, answer.internal_port,
      answer.external_port, answer.lifetime })
    assert.is_nil(answer.external_address)
  end)

  it("hears that the server restarted (RFC 6887 section 14.1)", function()
    local answer = pcp.decode(bytes("02 80 00 00 00000000 00000003 000000000000000000000000"))
    assert.same({ "announce", 3 }, { answer.type, answer.epoch })
  end)

  it("refuses what is cut short, too long, a request, or of another version", function()
    local whole = bytes(HEADER .. MAP)
    for length = 0, #whole - 1 do
      assert.is_nil(pcp.decode(whole:sub(1, length)), "accepted " .. length .. " octets of " .. #whole)
    end
    for _, case in ipairs({
      { whole .. ("\0"):rep(1044), "at most 1,100 octets" }, { whole .. "\0", "multiple of 4" },
      { ask(), "a request, not an answer" }, { "\1" .. whole:sub(2), "a version other than 0" },
      { bytes("00 82 0000 0000004d 1f90 7e7c"), "NAT%-PMP success shorter" }, { "", "shorter than any answer" } }) do
      local answer, message, code = pcp.decode(case[1])
      assert.is_nil(answer)
      assert.matches(case[2], message)
      assert.equal("EBADMSG", code)
    end
  end)
end)
