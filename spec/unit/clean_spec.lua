local clean = require("moonlb.clean")

describe("clean.line", function()
  for what, case in pairs({
    ["leaves a line as it is"] = { "a b-\u{e4}\u{1f980}", "a b-\u{e4}\u{1f980}" },
    ["puts a space for each control character"] = { "a\nb\tc\0d\27[31m\127", "a b c d [31m " },
    ["knows those above ASCII, and the line separators of Unicode"] = {
      "a\u{9b}31m\u{85}b\u{2028}c\u{2029}", "a 31m b c " },
    ["puts ? for bytes of no character, and keeps the rest"] = { "\255\u{e4}\xc3 x\xed\xa0\x80", "?\u{e4}? x???" },
    ["cuts between two characters"] = { "123456789\u{e4}", "123456789" },
    ["cuts where a character ends"] = { "12345678\u{e4}9", "12345678\u{e4}" },
    ["cuts bytes of no character anywhere"] = { ("\x80"):rep(20), ("?"):rep(10) },
    ["cuts nothing that fits"] = { "1234567890", "1234567890" },
  }) do
    it(what, function()
      local most = what:find("^cuts") and 10 or 100
      assert.equal(case[2], clean.line(case[1], most))
    end)
  end

  it("ends what it cut as it is told, within the bound", function()
    assert.equal("1234567...", clean.line("12345678901", 10, "..."))
    assert.equal("1234567890", clean.line("1234567890", 10, "..."))
    assert.equal("123456...", clean.line("123456\u{e4}8901", 10, "..."))
  end)

  it("takes a mebibyte of anything", function()
    assert.equal(("?"):rep(1 << 20), clean.line(("\255"):rep(1 << 20), 1 << 20))
  end)
end)
