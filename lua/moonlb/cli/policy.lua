--- `moonlb policy test` and `moonlb policy check`: a policy author's loop, without a cluster. Files run where mounted
-- ones do, in a worker with its limits: what passes here passes there, and a loop without end ends.
-- @module moonlb.cli.policy
local excerpt = require("moonlb.cli.excerpt")
local offline = require("moonlb.policy.offline")
local policy_tests = require("moonlb.policy.tests")
local tables = require("moonlb.cli.table")

local policy = { name = "policy", summary = "test or check policy files" }

--- @param parser  argparse's command
function policy.configure(parser)
  parser:command_target("action")
  local check = parser:command("check", "compile a policy and look at what it returns")
  check:argument("file", "Lua files"):args("+"):argname("FILE")
  local test = parser:command("test", "run the tests of a policy")
  test:argument("file", "Lua files"):args("+"):argname("FILE")
end

-- Tests give the same result whenever they are run.
local function epoch()
  return 0
end

-- What is wrong, and the source line that it speaks of.
local function complain(say, path, text, prefix, message)
  say(prefix .. message)
  local line = text and excerpt.of(path, text, message)
  if line then say(line) end
end

-- A trial, see `offline.open`, and the file's text; nil when the file is bad, which is said.
local function open_file(path, say)
  local text, message = offline.read(path)
  local trial
  if text then trial, message = offline.open(offline.name_of(path), text, path, { utc = epoch }) end
  if trial then return trial, text end
  complain(say, path, text, "", message)
  return nil
end

local function check_one(path, say, paint)
  local trial = open_file(path, say)
  if not trial then return false end
  local loaded = trial.loaded
  trial:close()
  say(("%s: %s, %d rules, %d tests"):format(path, paint("good", "green"), #loaded.rules, #(loaded.tests or {})))
  return true
end

local function test_one(path, say, paint)
  local trial, text = open_file(path, say)
  if not trial then return false end
  local results, failed = policy_tests.run(trial.host, trial.name), 0
  trial:close()
  for _, result in ipairs(results) do
    if result.failure then
      failed = failed + 1
      complain(say, path, text, ("%s: %s: %s: "):format(path, paint("failed", "red"), result.name), result.failure)
    end
  end
  say(("%s: %d passed, %d failed"):format(path, #results - failed, failed))
  return failed == 0 and #results > 0
end

--- @tparam table args  `action` (check or test), `file` (array)
-- @tparam[opt] table io_  `write(text)`, `has_colour`; for specs
-- @treturn number  0; 1 when a file is bad, a test fails, or (test) there is none
function policy.run(args, io_)
  io_ = io_ or {}
  local has_colour = io_.has_colour
  if has_colour == nil then has_colour = tables.wants_colour() end
  local write = io_.write or function(text) io.stdout:write(text) end
  local function say(line) write(line .. "\n") end
  local run = args.action == "check" and check_one or test_one
  local code = 0
  offline.run(function()
    for _, path in ipairs(args.file) do
      if not run(path, say, tables.painter(has_colour)) then code = 1 end
    end
  end)
  return code
end

return policy
