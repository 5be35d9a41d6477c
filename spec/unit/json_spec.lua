local json = require("moonlb.json")

describe("json.encode", function()
  it("keeps arrays arrays, sorts keys, escapes text and writes integers as such", function()
    assert.equal([[{"a":[],"b":{},"c":[1,2.5,-3],"d":"\"\\\n\u0001é","e":null,"f":true}]],
      json.encode({ a = json.array(), b = {}, c = { 1.0, 2.5, -3 }, d = "\"\\\n\1é", e = json.null, f = true }))
    assert.equal('{"x":null}', json.encode(json.object({ x = json.null })))
    assert.equal("{\n  \"a\": [\n    1\n  ]\n}", json.encode({ a = { 1 } }, "  "))
  end)

  it("raises for what is no JSON", function()
    for _, value in ipairs({ 0 / 0, 1 / 0, print, { [1.5] = 1 } }) do
      assert.has_error(function() json.encode(value) end)
    end
  end)

  it("takes what is written already as it is", function()
    local rows = { json.written({ b = { 1 }, a = "x" }), json.written(json.array()) }
    assert.equal('{"rows":[{"a":"x","b":[1]},[]]}', json.encode({ rows = rows }))
  end)
end)
