local json = require("moonlb.json")

describe("json.encode", function()
  it("keeps arrays, sorts keys, writes integers as such", function()
    assert.equal('{"a":[],"b":{"c":1,"d":0.5},"e":[1,2],"f":null,"g":"x\\n\\"\\u0001"}',
      json.encode({ a = json.array(), b = { c = 1.0, d = 0.5 }, e = { 1, 2 }, f = json.null, g = 'x\n"\1' }))
  end)

  it("refuses what has no JSON", function()
    assert.has_error(function() json.encode({ [true] = 1 }) end, "a JSON object has string keys, not boolean")
    assert.has_error(function() json.encode(0 / 0) end)
    assert.has_error(function() json.encode(print) end, "not a JSON value: function")
  end)

  it("takes what is written already as it is", function()
    local rows = { json.written({ b = { 1 }, a = "x" }), json.written(json.array()) }
    assert.equal('{"rows":[{"a":"x","b":[1]},[]]}', json.encode({ rows = rows }))
  end)
end)
