local cjson = require("cjson")

local kube = require("moonlb.core.kube")

describe("cut", function()
  local last = '"kubectl.kubernetes.io/last-applied-configuration"'

  local function equal(expected, text) assert.equal(expected, kube.cut(text)) end

  it("removes managedFields of metadata wherever it stands among its members", function()
    equal('{"metadata":{"name":"a"}}', '{"metadata":{"managedFields":[{"f:a":{}}],"name":"a"}}')
    equal('{"metadata":{"name":"a"}}', '{"metadata":{"name":"a","managedFields":[{"f:a":{}}]}}')
    equal('{"metadata":{"a":1,"b":2}}', '{"metadata":{"a":1,"managedFields":[],"b":2}}')
    equal('{"metadata":{}}', '{"metadata":{"managedFields":[]}}')
    equal('{"metadata":{"a":1}}', '{"metadata":{"a":1,"managedFields":[],"managedFields":"x"}}')
  end)

  it("removes the last-applied annotation and leaves the others", function()
    equal('{"metadata":{"annotations":{"a":"b"}}}',
      '{"metadata":{"annotations":{' .. last .. ':"{\\"a\\":\\"}\\\\\\"\\n\\"}","a":"b"}}}')
    equal('{"metadata":{"annotations":{}}}', '{"metadata":{"annotations":{' .. last .. ':"x"}}}')
  end)

  it("works at any depth, in lists and events", function()
    equal('{"items":[{"metadata":{}},{"spec":{"template":{"metadata":{"n":1}}}}]}',
      '{"items":[{"metadata":{"managedFields":[]}},'
      .. '{"spec":{"template":{"metadata":{"n":1,"managedFields":{"a":[]}}}}}]}')
  end)

  it("leaves the same names elsewhere, and in strings", function()
    for _, text in ipairs({ '{"spec":{"managedFields":[]}}', '{"data":{"a":"\\"metadata\\":{\\"managedFields\\":1}"}}',
      '{"metadata":{"labels":{"managedFields":"x"}}}', '{"annotations":{' .. last .. ':"x"}}',
      '{"metadata":["managedFields",{"managedFields":1}]}', '{"metadata":{"a":"managedFields"}}' }) do
      equal(text, text)
    end
  end)

  it("copes with white space", function()
    assert.same({ metadata = { name = "a", annotations = {} } }, cjson.decode(kube.cut(
      '{\n  "metadata" : {\n    "annotations": {\n ' .. last .. ' : "x"\n },\n    "name": "a",\n'
      .. '    "managedFields" : [ { } ]\n  }\n}\n')))
  end)

  it("leaves what is not JSON", function()
    for _, text in ipairs({ "", "<html>", '{"metadata":{"managedFields":[', '"', "\\", "}}}",
      '{"metadata":{"managedFields"', ("["):rep(100000) }) do
      equal(text, text)
    end
  end)
end)
