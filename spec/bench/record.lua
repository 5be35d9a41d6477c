--- What the flight recorder costs: an entry of a decision, finding those of a Service, and the memory of a full ring.
-- A frame is noted in tens of nanoseconds; spec/bench/pulse shows the thread's whole CPU for an answer.
local recorder = require("moonlb.recorder")

local ENTRIES = 100000

local function timed(count, fn)
  local started = os.clock()
  for i = 1, count do fn(i) end
  return (os.clock() - started) / count * 1e6
end

collectgarbage()
local before = collectgarbage("count")
local trace = { { rule = "static", result = "pass" }, { rule = "global_pool", result = "use" } }
local noting = timed(ENTRIES, function(i)
  recorder.note("decision", "demo/web" .. i % 1000, { action = "assign", addresses = "10.0.0.1", rule = "global_pool",
    policy = "default", pool = "range-global", message = "from range-global", trace = trace })
end)
collectgarbage()
local kept = collectgarbage("count") - before
local finding = timed(100, function() recorder.of("demo/web7", { "10.0.0.1" }, 12) end)
print(("note: %.2f us an entry; %d entries kept in %.0f KiB; the last 12 of a Service: %.0f us"):format(noting,
  #(recorder.since(0)), kept, finding))
