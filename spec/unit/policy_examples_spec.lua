-- The worked examples of policies/: each passes its own tests, is named like its file, and can be chosen by that name.
local planner = require("moonlb.allocator.plan")
local policy_host = require("moonlb.policy.host")
local policy_tests = require("moonlb.policy.tests")
local program = require("spec.support.program")
local loop = require("spec.support.loop")
local uv = require("luv")

local function names()
  local list, handle = {}, assert(uv.fs_scandir("policies"))
  for name in function() return uv.fs_scandir_next(handle) end do
    list[#list + 1] = name:match("^(.*)%.lua$")
  end
  table.sort(list)
  return list
end

describe("policies/", function()
  it("has the examples that the README tells of", function()
    assert.same({ "avoid", "by-label", "default", "ipam", "least-loaded", "quota", "spill-over", "sticky",
      "team-shared", "zone" }, names())
  end)

  it("passes moonlb policy test and check", loop.test(function()
    local files = {}
    for i, name in ipairs(names()) do files[i] = "policies/" .. name .. ".lua" end
    for _, action in ipairs({ "test", "check" }) do
      local printed = program.run(program.moonlb(), { "policy", action, table.unpack(files) })
      assert.equal(0, printed.code, printed.stdout .. printed.stderr)
    end
  end))

  for _, name in ipairs(names()) do
    describe(name, function()
      local host = policy_host.new({})
      local policy = assert(host:policy(name))

      it("has tests, and they pass", function()
        local results = policy_tests.run(host, name)
        assert.is_true(#results >= 4)
        for _, result in ipairs(results) do assert.is_nil(result.failure, result.name) end
      end)

      it("is called as its file is", function()
        local file = assert(io.open("policies/" .. name .. ".lua"))
        assert.truthy(file:read("a"):find(('name = "%s"'):format(name), 1, true))
        file:close()
        assert.equal("policies/" .. name .. ".lua", policy.file)
      end)

      it("decides when the ConfigMap names it", function()
        local result = planner.run({
          { kind = "ConfigMap", metadata = { namespace = "kube-system", name = "kubevip" },
            data = { policy = name, ["cidr-global"] = "10.0.0.0/24" } },
          { kind = "Service", metadata = { namespace = "shop", name = "web" }, spec = { type = "LoadBalancer" } },
        })
        local decision = result.decisions[1]
        if name == "ipam" then
          assert.equal("pending", decision.action)
          assert.equal("the IPAM does not answer: nobody is asked here", decision.reason)
        else
          assert.equal("assign", decision.action)
        end
        assert.equal(name, decision.policy)
        assert.is_nil(decision.failure)
      end)
    end)
  end

  it("gives a Service of the sticky policy its address again after it was deleted", function()
    local function address(others)
      local objects = { { kind = "ConfigMap", metadata = { namespace = "kube-system", name = "kubevip" },
        data = { policy = "sticky", ["cidr-global"] = "10.0.0.0/16" } } }
      for i = 1, others do
        objects[#objects + 1] = { kind = "Service", spec = { type = "LoadBalancer" },
          metadata = { namespace = "other", name = "s" .. i, creationTimestamp = "2026-01-01T00:00:00Z" } }
      end
      table.insert(objects, { kind = "Service", spec = { type = "LoadBalancer" },
        metadata = { namespace = "shop", name = "web", creationTimestamp = "2026-01-02T00:00:00Z" } })
      local decisions = planner.run(objects).decisions
      return decisions[#decisions].addresses[1]
    end
    assert.equal(address(0), address(100))
  end)
end)
