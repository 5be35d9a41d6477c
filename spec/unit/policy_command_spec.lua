-- Files that are no policies, given to `moonlb policy` and `moonlb plan --policy`.
local command = require("moonlb.cli.policy")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local temporary = require("spec.support.temporary")

local function with_folder(body)
  return function()
    local dir = temporary.folder("moonlb-policy-command")
    local ok, message = pcall(body, dir)
    temporary.remove(dir)
    if not ok then error(message, 0) end
  end
end

-- What `moonlb policy ACTION FILE` says, without its last newline.
local function says(action, path)
  local parts = {}
  local code = command.run({ action = action, file = { path } },
    { write = function(text) parts[#parts + 1] = text end, has_colour = false })
  assert.equal(1, code)
  return (table.concat(parts):gsub("\n$", ""))
end

for _, action in ipairs({ "check", "test" }) do
  describe("moonlb policy " .. action, function()
    it("names what is wrong with a folder", with_folder(function(dir)
      assert.equal(dir .. ": Is a directory", says(action, dir))
    end))

    it("names a file that there is not", with_folder(function(dir)
      assert.equal(dir .. "/none.lua: No such file or directory", says(action, dir .. "/none.lua"))
    end))

    it("names an empty file", with_folder(function(dir)
      temporary.sparse(dir .. "/a.lua", 0)
      assert.equal(dir .. "/a.lua: the file is empty; a policy returns a table", says(action, dir .. "/a.lua"))
    end))

    it("names the size of one that is too large, and the limit", with_folder(function(dir)
      for _, size in ipairs({ (1 << 20) + 1, 95 << 20, 100000000 }) do
        temporary.sparse(dir .. "/a.lua", size)
        local before = collectgarbage("count")
        assert.equal(("%s/a.lua: %d bytes, at most 1048576"):format(dir, size), says(action, dir .. "/a.lua"))
        assert.is_true(collectgarbage("count") - before < 1024, "it was read")
      end
    end))
  end)
end

describe("the program", function()
  it("refuses what is no policy's file, with exit code 1 or 2 and its name", loop.test(function()
    local dir = temporary.folder("moonlb-policy-command")
    temporary.sparse(dir .. "/a.lua", 100000000)
    local objects = "manifests/examples/shop.yaml"
    for _, case in ipairs({
      { { "policy", "check", dir .. "/a.lua" }, 1, "/a.lua: 100000000 bytes, at most 1048576\n" },
      { { "policy", "test", dir }, 1, ": Is a directory\n" },
      { { "policy", "check", "/dev/zero" }, 1, "/dev/zero: more than 1048576 bytes\n" },
      { { "plan", "-f", objects, "--policy", dir .. "/a.lua" }, 2, "/a.lua: 100000000 bytes, at most 1048576\n" },
      { { "plan", "-f", objects, "--policy", dir }, 2, ": Is a directory\n" },
    }) do
      local result = program.run(program.moonlb(), case[1])
      assert.equal(case[2], result.code)
      assert.truthy((result.stdout .. result.stderr):find(case[3], 1, true), result.stdout .. result.stderr)
    end
    temporary.remove(dir)
  end))
end)
