-- `moonlb sandbox up` as a person has it: kubectl beside it, and a terminal on its nodes.
local loop = require("spec.support.loop")
local process = require("moonlb.sandbox.process")
local program = require("spec.support.program")
local screen = require("spec.support.screen")
local temporary = require("spec.support.temporary")
local uv = require("luv")

local MOONLB = assert(uv.fs_realpath(program.moonlb()))

-- A sandbox of one node in `folder`, until `fn(folder)` ends.
local function with_sandbox(fn)
  return loop.test(function()
    local folder = temporary.folder("moonlb-sandbox")
    local sandbox = assert(process.start({ MOONLB, "sandbox", "up", "--folder", folder }))
    local ok, err = pcall(function()
      assert(sandbox:wait_for(function() return sandbox:output():find("stop everything", 1, true) end, 30),
        sandbox:output())
      fn(folder)
    end)
    sandbox:kill("sigterm")
    sandbox:wait(15)
    temporary.remove(folder)
    if not ok then error(err, 0) end
  end, 120)
end

describe("moonlb sandbox up", function()
  it("has nodes that kubectl labels, annotates and cordons", with_sandbox(function(folder)
    local function kubectl(...)
      local result = program.run("kubectl", { ... }, { env = { KUBECONFIG = folder .. "/kubeconfig" } })
      assert.equal(0, result.code, result.stderr)
      return result.stdout
    end
    kubectl("label", "node", "node1", "node.kubernetes.io/exclude-from-external-load-balancers=")
    kubectl("annotate", "node", "node1", "moonlb.io/drain=true")
    kubectl("cordon", "node1")
    assert.equal("true 10.77.0.2 true", kubectl("get", "node", "node1", "-o", "jsonpath={.spec.unschedulable} "
      .. "{.status.addresses[0].address} {.metadata.annotations.moonlb\\.io/drain}"))
  end))

  it("gives Ctrl-C to what runs on a node, and keeps the terminal with it", with_sandbox(function(folder)
    loop.until_true(function()
      return program.run(folder .. "/enter", { "node1", MOONLB, "eval", "1" }).code == 0
    end, 20, "moonlb on node1")
    local terminal = screen.new(folder)
    terminal:run(("HOME=%s NO_COLOR=1 %s/enter node1 %s repl"):format(folder, folder, MOONLB))
    terminal:shows("moonlb>")
    terminal:type("1 +", "C-c")
    terminal:type("6 * 7", "Enter")
    assert.is_nil(terminal:shows("\n42"):find("ended with", 1, true))
    terminal:run(folder .. "/enter node1 sh -c 'echo begun; sleep 50; echo slept'")
    terminal:shows("begun")
    terminal:type("", "C-c")
    assert.is_nil(terminal:shows("ended with"):find("slept", 1, true))
    terminal:close()
  end))
end)
