--- The cases of spec/vectors/allocation.json, observed of kube-vip's cloud provider or marked where moonlb differs
-- on purpose.
local cjson = require("cjson")
local plan = require("moonlb.allocator.plan")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return cjson.decode(text)
end

local root = os.getenv("MOONLB_ROOT") or "."
local cases = read(root .. "/spec/vectors/allocation.json").vectors

local function decision_of(case)
  local result = plan.run(case.manifests.items)
  for _, decision in ipairs(result.decisions) do
    if decision.namespace .. "/" .. decision.name == case.service then return decision end
  end
  error("no decision about " .. case.service)
end

describe("the vectors", function()
  it("are all there", function()
    assert.equal(66, #cases)
  end)

  for _, case in ipairs(cases) do
    it(case.name, function()
      local decision = decision_of(case)
      for name, value in pairs(case.expect) do
        assert.same(value, decision[name], decision.message)
      end
      assert.is_true(case.expect.addresses ~= nil or case.expect.action ~= nil, "the case expects nothing")
    end)
  end
end)
