--- `moonlb run`: the daemon, until SIGTERM or SIGINT.
-- @module moonlb.cli.run
local log = require("moonlb.core.log")
local settings = require("moonlb.cli.settings")
local uv = require("luv")

local function run(arguments)
  local values, warnings = settings.resolve(arguments, uv.os_environ())
  if not values then
    io.stderr:write("moonlb: " .. warnings .. "\n")
    return 2
  end
  log.configure({ level = values.log_level, json = values.log_format == "json" })
  for _, warning in ipairs(warnings) do log.warn(warning) end
  -- Loaded here: the other commands need none of it.
  return require("moonlb.daemon").run(values, uv.os_environ())
end

return {
  name = "run",
  summary = "give Services their addresses and announce them (the daemon)",
  configure = function(parser) settings.configure(parser) end,
  run = run,
}
