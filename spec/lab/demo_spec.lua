local loop = require("spec.support.loop")
local process = require("moonlb.sandbox.process")

describe("make demo", function()
  it("shows the main job in words and leaves nothing behind", loop.test(function()
    local before = process.run({ "sh", "-c", "ls /tmp | grep ^moonlb-demo" }).output
    local demo = assert(process.run({ "spec/lab/demo" }, { timeout = 90 }))
    assert.equal(0, demo.code, demo.output)
    local words = { "10.77.0.77", "Unicast reply from", "hello from node1", "Received 0 response", "Done in" }
    for _, word in ipairs(words) do
      assert.matches(word, demo.output, 1, true)
    end
    assert.equal(before, process.run({ "sh", "-c", "ls /tmp | grep ^moonlb-demo" }).output)
  end, 100))

  it("ends with exit 1 and says which step failed", loop.test(function()
    local demo = assert(process.run({ "spec/lab/demo" }, { timeout = 90, env = { "MOONLB=/bin/false" } }))
    assert.equal(1, demo.code)
    assert.matches("failed: the sandbox ended", demo.output, 1, true)
  end, 100))
end)
