--- A process of its own that plays random histories: `moonlb-spec --script spec/support/play_histories.lua KIND FIRST
-- STEP COUNT` plays seeds FIRST, FIRST + STEP, ...; prints `played N`, or the seed that fails and its shortest history.
package.path = "./lua/?.lua;./?.lua;" .. package.path
local simulation = require("spec.support.placement_simulation")

local kind, first, step, count = ...
local options = assert(simulation.kinds[kind], kind).options
for i = 0, tonumber(count) - 1 do
  local seed = tonumber(first) + i * tonumber(step)
  if simulation.run(seed, options).violations[1] then
    local shortest = simulation.minimise(seed, options)
    print(("seed %d, %s: %s\nof %d faults these are needed:\n%s"):format(seed, kind, shortest.violations[1],
      shortest.faults, table.concat(shortest.history, "\n")))
    os.exit(1)
  end
end
print("played " .. count)
