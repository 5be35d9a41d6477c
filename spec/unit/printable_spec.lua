--- moonlb.printable: text that does not steer the terminal.
local printable = require("moonlb.printable")
local tables = require("moonlb.cli.table")

describe("printable.escape", function()
  it("leaves text that says what it looks like", function()
    for _, text in ipairs({ "", "plain 'text' ~", "grün", "日本", "\u{1F600}", "\u{A0}\u{203F}\u{2065}" }) do
      assert.equal(text, printable.escape(text))
    end
  end)

  it("escapes controls of both sets, DEL, and what turns the direction of text", function()
    assert.equal("\\x1b[2J\\x07\\n\\t\\r\\x00", printable.escape("\27[2J\7\n\t\r\0"))
    assert.equal("\\x7f\\u{80}\\u{9f}\\u{9b}31m", printable.escape("\127\u{80}\u{9F}\u{9B}31m"))
    assert.equal("\\u{202a}\\u{202e}\\u{2066}\\u{2069}", printable.escape("\u{202A}\u{202E}\u{2066}\u{2069}"))
  end)

  it("escapes what is no UTF-8", function()
    assert.equal("a\\x9bb\\xffc", printable.escape("a\x9bb\xffc"))
    assert.equal("\\xc2", printable.escape("\xc2"))
    assert.equal("\\xed\\xa0\\x80", printable.escape("\xed\xa0\x80"))
    assert.equal(40000, #printable.escape(("\x80"):rep(10000)))
  end)
end)

describe("printable.json", function()
  it("says the same", function()
    assert.equal('"\\u009b\\u202eä"', printable.json('"\u{9b}\u{202e}ä"'))
  end)
end)

describe("tables.lines", function()
  it("is as wide as what is shown", function()
    local lines = tables.lines({ { title = "A" }, { title = "B" } }, { { "\u{9b}x", "1" }, { "y", "2" } },
      tables.painter(false))
    assert.same({ "A        B", "\\u{9b}x  1", "y        2" }, lines)
  end)
end)
