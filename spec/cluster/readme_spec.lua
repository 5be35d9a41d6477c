-- The kubectl commands of the README, in their order, against an API server: each is taken. Applying the manifests is
-- manifests_spec's, which has a server that knows RBAC and DaemonSets.
local kubernetes = require("spec.support.kubernetes")

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

-- The lines of the ```sh blocks, without what stands behind `#`.
local function commands(path)
  local list = {}
  for block in read(path):gmatch("\n *```sh\n(.-)\n *```") do
    for line in (block .. "\n"):gmatch(" *(.-) *\n") do list[#list + 1] = line:gsub("%s+# .*$", "") end
  end
  return list
end

local function run_all(path, prepare)
  return kubernetes.test(function(c)
    if c.is_real then return c.pending("it would change what the server's other specs use") end
    c:needs_client(21)
    prepare(c)
    local count = 0
    for _, line in ipairs(commands(path)) do
      if line:find("^kubectl ") and not line:find(" apply %-[fk] manifests/") then
        count = count + 1
        local process = c:shell(line)
        assert(process.code == 0, ("%s: %s\n%s%s"):format(path, line, process.out, process.err))
      end
    end
    assert.is_true(count >= 4, count .. " commands")
  end, 120)
end

describe("README", function()
  it("has kubectl commands that an API server takes, in their order", run_all("README.md", function(c)
    c:run("create", "deployment", "web", "--image=nginx", "--port=80")
  end))

  it("gives moonlb only flags that there are", function()
    local known, count = {}, 0
    for _, it_is in ipairs(require("moonlb.cli.settings").list) do known[it_is.flag] = true end
    for _, path in ipairs({ "README.md", "manifests/README.md", "manifests/kube-vip.md" }) do
      for _, line in ipairs(commands(path)) do
        for flag in (line:match("moonlb run (.*)") or ""):gmatch("%-%-[%w-]+") do
          count = count + 1
          assert.is_true(known[flag] or false, path .. ": " .. flag)
        end
      end
    end
    assert.is_true(count > 0)
  end)
end)
