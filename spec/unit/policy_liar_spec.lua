-- A worker that speaks the session's messages and lies in them (spec/support/policy_liar.h): what of it reaches the
-- cluster.
local allocation = require("spec.support.allocation")
local engine = require("moonlb.allocator.engine")
local loop = require("spec.support.loop")
local policy_host = require("moonlb.policy.host")
local runtime = require("moonlb.core.runtime")
local worker = require("moonlb.policy.worker")

local LIE = 900000000

-- body(result of reconciling a Service, host): with a policy whose worker tells that lie.
local function lies(number, body)
  return loop.test(function()
    local backend = worker.new({ settings = {}, now = runtime.boottime, utc = runtime.walltime,
      limits = { steps = LIE + number } })
    local host = policy_host.new({ now = runtime.boottime })
    assert(host:load("team", "the liar reads no policy", "team.lua", backend))
    local brain = engine.new({ now = runtime.boottime, utc = runtime.walltime, host = host })
    brain:set_configmap(allocation.configmap({ policy = "team", ["cidr-global"] = "10.0.0.0/24" }))
    brain:set_node(allocation.node("n1", "10.0.0.250"))
    brain:set_service(allocation.service("a/web"))
    local ok, message = pcall(body, brain:reconcile("a/web"), host)
    backend:close()
    if not ok then error(message, 0) end
  end)
end

describe("a worker that lies", function()
  it("about its own failure, in hostile bytes: they come as one line of text", lies(16, function(result, host)
    local decision, event = result.decision, result.events[1]
    assert.equal("default", decision.policy)
    assert.equal("the worker failed: evil  [31m?? two lines", decision.failure.reason)
    assert.equal("policy team (team.lua): the worker failed: evil  [31m?? two lines", event.message)
    assert.equal(1, host.failures.team)
  end))

  it("about nodes: the annotation has those that there are", lies(17, function(result)
    assert.same({ "192.0.2.1" }, result.decision.addresses)
    assert.equal("n1", result.patch.metadata.annotations["moonlb.io/place"])
  end))

  it("about how full a pool is: it is killed, and the stock policy decides", lies(18, function(result)
    assert.same({ "default", { "10.0.0.1" } }, { result.decision.policy, result.decision.addresses })
    assert.equal("the worker's answer is no list of decisions", result.decision.failure.reason)
  end))
end)
