local attacks = require("spec.support.attacks")
local loop = require("spec.support.loop")

describe("a hostile policy in its worker", function()
  for _, name in ipairs(attacks.files()) do
    it("costs its own decision and nothing else: " .. name, loop.test(function()
      local _, expect = attacks.read(name)
      local result = attacks.run(name)
      assert.matches("^" .. expect.worker .. "$", result.a)
      if result.b then assert.matches("^" .. expect.next .. "$", result.b) end
    end))
  end
end)
