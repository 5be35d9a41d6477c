-- Thousands of random histories of faults and planned moves, in as many processes as there are cores. SEED starts
-- elsewhere; HISTORIES=10 plays ten times as many.
local async = require("moonlb.async")
local loop = require("spec.support.loop")
local program = require("spec.support.program")
local simulation = require("spec.support.placement_simulation")
local uv = require("luv")

local SEED = math.tointeger(tonumber(os.getenv("SEED") or 1))
-- What a sanitizer looks for, the C core's mistakes, is not in these rules: a few show that they run under it.
local SHARE = uv.exepath():find("sanitize", 1, true) and 0.02 or tonumber(os.getenv("HISTORIES") or 1)
local TIMEOUT = 280 * math.max(1, SHARE)

local function play(kind)
  local processes = math.max(1, math.min(8, uv.available_parallelism and uv.available_parallelism() or 2))
  local each = math.ceil(simulation.kinds[kind].count * SHARE / processes)
  local tasks, results = {}, {}
  for i = 1, processes do
    tasks[i] = async.run(function()
      results[i] = program.run(uv.exepath(), { "--script", "spec/support/play_histories.lua", kind,
        tostring(SEED + i - 1), tostring(processes), tostring(each) }, { timeout = TIMEOUT })
    end)
  end
  for _, task in ipairs(tasks) do task:join() end
  for _, result in ipairs(results) do
    assert(result.code == 0, result.stdout .. result.stderr)
    assert.equal("played " .. each .. "\n", result.stdout)
  end
end

describe("ownership under faults and moves", function()
  for _, kind in ipairs({ "random faults", "digests alone", "long histories" }) do
    it(("keeps one owner for each group and never leaves one without: %s"):format(kind),
      loop.test(function() play(kind) end, TIMEOUT))
  end

  it("says of a history that goes wrong which faults it takes", function()
    local claims = require("moonlb.announcer.claims")
    local silent = claims.SILENT
    finally(function() claims.SILENT = silent end)
    claims.SILENT = 3 -- nobody is found dead in time
    local options = simulation.kinds["random faults"].options
    local whole, shortest
    for seed = 1, 50 do
      whole = simulation.run(seed, options)
      shortest = simulation.minimise(seed, options)
      if shortest then break end
    end
    assert.truthy(shortest.violations[1]:find("nobody announces", 1, true), shortest.violations[1])
    assert.is_true(#shortest.history < #whole.history)
  end)
end)
