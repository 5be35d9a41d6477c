local json = require("moonlb.sandbox.json")

describe("sandbox.json.decode and encode", function()
  it("keep empty lists and objects apart, integers whole, and null", function()
    for _, text in ipairs({ "[]", "{}", "10", "-0.5", "12345678901234567", "null", "[null,{}]", '{"n":3}', '""' }) do
      assert.equal(text, json.encode(json.decode(text)))
    end
    assert.equal("integer", math.type(json.decode("8080")))
    assert.equal("float", math.type(json.decode("1e2")))
    assert.equal("100", json.encode(json.decode("1e2")))
  end)

  it("write names in order, so that equal objects give equal text", function()
    assert.equal('{"a":1,"b":[2],"c":{"d":true}}', json.encode(json.decode('{ "c":{"d":true} , "b":[ 2 ], "a":1 }')))
  end)

  it("read escapes (RFC 8259 section 7), surrogate pairs and lone surrogates", function()
    assert.equal("\u{e4}\u{1F600}\n/\"\\", json.decode([["\u00e4\ud83d\ude00\n\/\"\\"]]))
    assert.equal("\u{FFFD}x", json.decode([["\ud83dx"]]))
    assert.equal([["\u0001\u001f\n"]], json.encode("\1\31\n"))
    assert.equal('"\127"', json.encode(json.decode('"\127"')))
  end)

  it("refuse what is not JSON", function()
    for _, text in ipairs({
      "", " ", "[1 2]", '{"a"}', "[1,]", "{,}", '{"a":1,}', '"a', "01", "1.", ".5", "-", "1.e5", "tru", "[1]x", "'a'",
      '"\n"', [["\x"]], [["\u12"]], "{a:1}", "nan", "+1", "1e", "// c\n1",
    }) do
      local value, message, code = json.decode(text)
      assert.is_nil(value, text)
      assert.is_string(message)
      assert.equal("EINVAL", code)
    end
  end)

  it("bounds the depth", function()
    assert.is_table(json.decode(("["):rep(128) .. ("]"):rep(128)))
    local value, message = json.decode(("["):rep(129) .. ("]"):rep(129))
    assert.is_nil(value)
    assert.matches("nested too deeply", message)
  end)

  it("raise on what JSON cannot say", function()
    assert.has_error(function() json.encode(0 / 0) end)
    assert.has_error(function() json.encode({ f = print }) end)
  end)
end)

describe("sandbox.json.equal and copy", function()
  it("tell an empty list from an empty object, and copy deeply", function()
    assert.is_false(json.equal(json.list(), {}))
    local value = json.decode('{"a":[{"b":null}],"c":[]}')
    local copy = json.copy(value)
    assert.is_true(json.equal(value, copy))
    copy.a[1].b = 1
    assert.is_false(json.equal(value, copy))
    assert.equal('{"a":[{"b":null}],"c":[]}', json.encode(value))
  end)
end)

describe("sandbox.json.base64 (RFC 4648 section 10)", function()
  it("passes the test vectors both ways", function()
    for plain, coded in pairs({
      [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=", foobar = "Zm9vYmFy",
    }) do
      assert.equal(coded, json.base64(plain))
      assert.equal(plain, json.base64_decode(coded))
      assert.equal(plain, json.base64_decode((coded:gsub("=", ""))))
    end
    assert.equal("\xfb\xff", json.base64_decode("-_8"))
  end)

  it("refuses other characters and impossible lengths", function()
    assert.is_nil(json.base64_decode("Zm9v!"))
    assert.is_nil(json.base64_decode("Zm9vY"))
  end)
end)
