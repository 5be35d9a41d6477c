local core = require("moonlb.core.policy_worker")
local runtime = require("moonlb.core.runtime")

local MEMORY, BATCH = 16 << 20, 100
local STOCK = runtime.source("policies/default.lua")
local SERVICE = { apiVersion = "v1", kind = "Service", metadata = { namespace = "a", name = "b" },
  spec = { type = "LoadBalancer" } }
local CONFIGMAP = { metadata = { name = "kubevip" }, data = { ["cidr-global"] = "10.0.0.0/16" } }
-- What is put into an upvalue is old at once.
local WASTEFUL = [[
local last
return { api = 1, rules = { function()
  last = { {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {} }
end } }]]

local function ask(own, kind, ...)
  local parts = {}
  for i, value in ipairs({ ... }) do parts[i] = assert(core.pack(value)) end
  local answer, value = assert(own:answer(kind, 1, parts))
  assert.equal(kind, answer)
  return value
end

local function new_state(text)
  local own = assert(core.open_local({ memory = MEMORY }))
  ask(own, "L", { name = "t", file = "t.lua", text = text, memory = MEMORY, stock = STOCK,
    settings = { configmap = "kube-system/kubevip" } })
  local times = { now = 1, utc = 1, memory = MEMORY }
  ask(own, "V", times, { "set_configmap", CONFIGMAP }, { "set_service", core.pack(SERVICE) })
  return own, times
end

-- Bytes of the heap, the most that it was after any of `count` batches.
local function most_used(own, times, count)
  local requests, most = {}, 0
  for i = 1, BATCH do requests[i] = { key = "a/b" } end
  for _ = 1, count do
    assert.equal(BATCH, #ask(own, "D", times, table.unpack(requests)).outcomes)
    most = math.max(most, ask(own, "V", times).used)
  end
  return most
end

describe("the heap of a policy's state", function()
  it("does not grow with the decisions of the stock policy", function()
    local own, times = new_state("return { api = 1, rules = { rule.static, rule.global_pool } }")
    local before = most_used(own, times, 10)
    assert.is_true(most_used(own, times, 100) < before + (1 << 20), "10,000 decisions left a MiB of garbage")
    own:close()
  end)

  it("is collected between two calls, before a policy's own call has to", function()
    local own, times = new_state(WASTEFUL)
    assert.is_true(most_used(own, times, 200) < MEMORY / 8 * 5, "old garbage waited for a guarded call")
    own:close()
  end)
end)
