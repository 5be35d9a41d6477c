local loop = require("spec.support.loop")
local program = require("spec.support.program")

local function moonlb(arguments, env)
  return program.run(program.moonlb(), arguments, { env = env })
end

describe("moonlb", function()
  it("shows its commands and their flags with --help", loop.test(function()
    local help = moonlb({ "--help" })
    assert.equal(0, help.code)
    assert.matches("run +give Services their addresses", help.stdout)
    help = moonlb({ "run", "--help" })
    assert.equal(0, help.code)
    assert.matches("Announcing:", help.stdout)
    assert.matches("MOONLB_PROBE", help.stdout)
  end))

  it("says in one line what is wrong with the command line, exit 2", loop.test(function()
    for wrong, arguments in pairs({
      ["unknown option '--bogus'"] = { "run", "--bogus" },
      ["unknown command 'fly'"] = { "fly" },
      ["a command is required"] = {},
      ["--port many: a port from 0 to 65535"] = { "run", "--port", "many" },
    }) do
      local result = moonlb(arguments)
      assert.equal(2, result.code)
      assert.equal("", result.stdout)
      assert.equal(1, select(2, result.stderr:gsub("\n", "")))
      assert.truthy(result.stderr:find(wrong, 1, true), result.stderr)
    end
  end))

  it("names an unreadable kubeconfig, exit 2", loop.test(function()
    local result = moonlb({ "run", "--kubeconfig", "/nonexistent/config" })
    assert.equal(2, result.code)
    assert.equal("moonlb: kubeconfig: /nonexistent/config: No such file or directory\n", result.stderr)
  end))

  it("says what it looked for when there are no credentials, exit 2", loop.test(function()
    local result = moonlb({ "run" }, { HOME = "/nonexistent", KUBECONFIG = "", KUBERNETES_SERVICE_HOST = "" })
    assert.equal(2, result.code)
    assert.matches("no credentials: this is no pod", result.stderr)
  end))

  it("prints its version", loop.test(function()
    assert.matches("^moonlb %d+%.%d+%.%d+\n$", moonlb({ "version" }).stdout)
  end))
end)
