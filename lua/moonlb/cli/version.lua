--- `moonlb version`.
-- @module moonlb.cli.version
local runtime = require("moonlb.core.runtime")

return {
  name = "version",
  summary = "print the version",
  configure = function() end,
  run = function()
    print("moonlb " .. runtime.version)
    return 0
  end,
}
