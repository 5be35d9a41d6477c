-- The corpus of hostile policies in this very process, one after the other from $ATTACK_FROM on: a line `ATTACK name`
-- before each, and
-- `RESULT` with what came of it after. Started by spec/unit/policy_sandbox_spec.lua, which ends it when it hangs.
local attacks = require("spec.support.attacks")
local loop = require("spec.support.loop")
local policy_local = require("spec.support.policy_local")

local function say(...)
  io.write(table.concat({ ... }, "\t"), "\n")
  io.flush()
end

it("runs the corpus", loop.test(function()
  for _, name in ipairs(attacks.files()) do
    if name >= os.getenv("ATTACK_FROM") then
      say("ATTACK", name)
      local result = attacks.run(name, policy_local.start)
      say("RESULT", name, result.a, result.b)
    end
  end
  say("DONE")
end, 600))
