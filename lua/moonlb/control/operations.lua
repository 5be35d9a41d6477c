--- What the daemon answers on its control socket: one function a name, gathered from the modules beside this one.
-- @module moonlb.control.operations
local inquiry = require("moonlb.control.inquiry")
local runtime = require("moonlb.core.runtime")

local operations = {}

--- @tparam Daemon daemon  its parts may appear later
-- @treturn table  name -> `function(request, reply, connection)`, see `moonlb.control.server`
function operations.new(daemon)
  local all = {}

  function all.version(_, reply)
    reply({ version = runtime.version, node = daemon.settings.node_name })
  end

  inquiry.add(all, daemon)
  return all
end

return operations
