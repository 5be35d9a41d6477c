-- The examples in the READMEs: each ```console block is run as it stands, and prints what stands there; each ```lua
-- block that is a policy passes its tests.
local loop = require("spec.support.loop")
local program = require("spec.support.program")

local FILES = { "README.md", "core/README.md", "lua/README.md", "policies/README.md",
  "policies/EXAMPLES.md", "manifests/README.md",
  "manifests/kube-vip.md",
  "spec/README.md", "vendor/README.md" }

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

-- Each `$ command` with the lines that follow it.
local function examples(text)
  local list = {}
  for block in text:gmatch("\n```console\n(.-)\n```") do
    for line in (block .. "\n"):gmatch("(.-)\n") do
      local command = line:match("^%$ (.*)$")
      if command then
        list[#list + 1] = { command = command, output = {} }
      elseif list[#list] then
        table.insert(list[#list].output, line)
      end
    end
  end
  return list
end

-- The ```lua blocks that return a policy, each with the line where it begins.
local function policies(text)
  local list, at = {}, 1
  while true do
    local first, last, block = text:find("\n```lua\n(.-\n)```", at)
    if not first then return list end
    local _, line = text:sub(1, first + 7):gsub("\n", "")
    if block:find("api = 1", 1, true) then list[#list + 1] = { text = block, line = line } end
    at = last + 1
  end
end

local function temporary(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

-- `moonlb` is the binary under test.
local function run(command)
  local folder = program.moonlb():match("^(.*)/") or "."
  return program.run("/bin/sh", { "-c", command .. " 2>&1" }, { env = { PATH = folder .. ":" .. os.getenv("PATH") } })
end

local function without_trailing_space(text)
  return (text:gsub("[ \t]+\n", "\n"):gsub("%s+$", ""))
end

-- Every setting that has a name of kube-vip's stands in the page with its flag beside it.
describe("manifests/kube-vip.md", function()
  for _, it_is in ipairs(require("moonlb.cli.settings").list) do
    for _, name in ipairs(it_is.environment) do
      if not name:find("^MOONLB_") and name ~= "NODE_NAME" then
        it("maps " .. name .. " to " .. it_is.flag, function()
          local row = assert(read("manifests/kube-vip.md")):match("\n(|[^\n]*`" .. name .. "`[^\n]*)")
          assert.truthy(row and row:find("`" .. it_is.flag, 1, true), row)
        end)
      end
    end
  end
end)

describe("README", function()
  for _, path in ipairs(FILES) do
    local text = read(path)
    for _, example in ipairs(text and examples(text) or {}) do
      it(path .. ": " .. example.command, loop.test(function()
        local printed = run(example.command)
        assert.equal(without_trailing_space(table.concat(example.output, "\n") .. "\n"),
          without_trailing_space(printed.stdout))
      end))
    end
  end

  for _, path in ipairs(FILES) do
    local text = read(path)
    for _, example in ipairs(text and policies(text) or {}) do
      it(("%s:%d: the policy passes its tests"):format(path, example.line), loop.test(function()
        local file = temporary(example.text)
        local printed = run("moonlb policy test " .. file)
        os.remove(file)
        assert.equal(0, printed.code, printed.stdout)
        assert.matches(": [1-9]%d* passed, 0 failed\n$", printed.stdout)
      end))
    end
  end

  it("names only make targets that there are", function()
    local makefile = assert(read("Makefile"))
    for _, path in ipairs(FILES) do
      for target in (read(path) or ""):gmatch("`make ([a-z]+)") do
        assert.truthy(makefile:find("\n" .. target .. ":", 1, true), path .. " says make " .. target)
      end
    end
  end)

  it("applies only manifests that there are", function()
    local count = 0
    for _, path in ipairs(FILES) do
      for flag, manifest in (read(path) or ""):gmatch("kubectl apply %-([fk]) (manifests/[%w_./-]+)") do
        count = count + 1
        assert.truthy(read(flag == "k" and manifest .. "/kustomization.yaml" or manifest), path .. ": " .. manifest)
      end
    end
    assert.is_true(count > 0)
  end)

  it("links only to files that there are", function()
    for _, path in ipairs(FILES) do
      local folder = path:match("^(.*/)") or ""
      for link in (read(path) or ""):gmatch("%]%(([%w_./-]+)%)") do
        assert.truthy(read(folder .. link) or read(folder .. link .. "/README.md"), path .. " links to " .. link)
      end
    end
  end)
end)
