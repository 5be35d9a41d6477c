local json = require("moonlb.sandbox.json")
local protobuf = require("moonlb.sandbox.protobuf")

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

-- Written by hand after protobuf.dev/programming-guides/encoding: tag = number << 3 | 2, a length, the bytes.
local function field(number, content)
  return string.char(number << 3 | 2, #content) .. content
end

local function number(n, value)
  return string.char(n << 3, value)
end

local function envelope(kind, raw, version)
  return "k8s\0" .. field(1, field(1, version or "v1") .. field(2, kind)) .. field(2, raw)
end

describe("sandbox.protobuf.decode", function()
  it("reads what kubectl create namespace sends", function()
    -- k8s\0, Unknown{typeMeta{v1, Namespace},
    -- raw{metadata{name: demo, generateName: "", namespace: ""}, spec{}, status{}}}
    local body = bytes("6b38 7300 0a0f 0a02 7631 1209 4e61 6d65 7370 6163 65" ..
      "1210 0a0a 0a04 6465 6d6f 1200 1a00 1200 1a00")
    local object = assert(protobuf.decode(body, "Namespace"))
    assert.equal('{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"demo"},"spec":{},"status":{}}',
      json.encode(object))
    assert.same({ "v1", "Namespace" }, { protobuf.kind_of(body) })
  end)

  it("reads a ConfigMap: maps of strings and of bytes", function()
    local raw = field(1, field(1, "c")) .. field(2, field(1, "k") .. field(2, "v"))
      .. field(3, field(1, "b") .. field(2, "\0\1"))
    local object = protobuf.decode(envelope("ConfigMap", raw), "ConfigMap")
    assert.same({ k = "v" }, object.data)
    assert.same({ b = "AAE=" }, object.binaryData)
  end)

  it("reads a Service: repeated messages, numbers, named and numbered target ports", function()
    local named = field(1, "http") .. field(2, "TCP") .. number(3, 80)
      .. field(4, number(1, 1) .. number(2, 0) .. field(3, "web"))
    local numbered = number(3, 81) .. field(4, number(1, 0) .. "\x10\x90\x3f" .. field(3, ""))
    local spec = field(1, named) .. field(1, numbered) .. field(2, field(1, "app") .. field(2, "web")) .. field(3, "")
      .. field(4, "LoadBalancer") .. "\xa0\x01\x00"
    local object = protobuf.decode(envelope("Service", field(1, field(1, "s")) .. field(2, spec)), "Service")
    assert.equal('{"allocateLoadBalancerNodePorts":false,"ports":['
      .. '{"name":"http","port":80,"protocol":"TCP","targetPort":"web"},'
      .. '{"port":81,"targetPort":8080}],"selector":{"app":"web"},"type":"LoadBalancer"}', json.encode(object.spec))
  end)

  it("refuses bodies that are cut, too deep, or no Kubernetes protobuf", function()
    local whole = envelope("ConfigMap", field(1, field(1, "name")))
    for i = 1, #whole - 1 do
      local object, message, code = protobuf.decode(whole:sub(1, i), "ConfigMap")
      -- a cut between two fields is a shorter message; all others must be seen
      if not object then
        assert.is_string(message)
        assert.equal("EBADMSG", code)
      else
        assert.is_nil((object.metadata or {}).name)
      end
    end
    for _, body in ipairs({ "", "{}", "k8s\0" .. "\x0b", "k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
      "k8s\0\x0a\xff\xff\xff\xff\x7f", "k8s\0\x02\x00" }) do
      assert.is_nil((protobuf.decode(body, "ConfigMap")))
    end
  end)

  it("refuses a field it does not know, unless it is empty", function()
    local object, message = protobuf.decode(envelope("ConfigMap", field(9, "x")), "ConfigMap")
    assert.is_nil(object)
    assert.matches("field 9 of ConfigMap", message)
    assert.is_table((protobuf.decode(envelope("ConfigMap", field(9, "")), "ConfigMap")))
  end)

  it("survives any bytes", function()
    math.randomseed(1)
    for _ = 1, 2000 do
      local body = { "k8s\0" }
      for i = 1, math.random(40) do
        body[i + 1] = string.char(math.random(0, 255))
      end
      local object, _, code = protobuf.decode(table.concat(body), "Service")
      assert.is_true(object ~= nil or code == "EBADMSG")
    end
  end)
end)
