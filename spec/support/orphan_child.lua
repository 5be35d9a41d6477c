-- Starts a policy worker, says its pid and waits to be killed. For spec/unit/policy_process_spec.lua.
local core = require("moonlb.core.policy_worker")
local uv = require("luv")

it("waits", function()
  local worker = assert(core.start({ on_end = error, on_answer = function() end }))
  assert(worker:send("?", 1, { core.pack(true) }, 60))
  print(worker:pid())
  io.flush()
  uv.new_timer():start(60000, 0, function() os.exit(1) end)
  uv.run()
end)
