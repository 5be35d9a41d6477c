--- What a session may change, when it was begun with `--write`. Each change is logged with who made it.
-- @module moonlb.control.changing
local address = require("moonlb.core.address")
local giving = require("moonlb.control.giving")
local log = require("moonlb.core.log")

local changing = {}

local function no_announcer()
  return nil, "this process does not announce", "ENOTSUP"
end

-- The VIP that a text names.
local function vip_of(daemon, text)
  local ip = type(text) == "string" and address.canonical(text)
  local vip = ip and daemon.announcer and daemon.announcer.vips[ip]
  if vip then return vip end
  return nil, ("%s: no VIP that this node knows; vips lists them"):format(tostring(text):sub(1, 64)), "ENOENT"
end

local CHANGES = {}

--- Tell the neighbours again that this node answers for an address.
function CHANGES.announce(daemon, request)
  if not daemon.announcer then return no_announcer() end
  local vip, message, code = vip_of(daemon, request.address)
  if not vip then return nil, message, code end
  if not vip:is_answering() then
    return nil, ("%s is not announced here: %s%s"):format(vip.address, vip.state, vip.reason and ", " .. vip.reason
      or ""), "EADDRNOTAVAIL"
  end
  vip:burst("asked for by a person")
  return { address = vip.address, state = vip.state }
end

function CHANGES.move(daemon, request)
  if type(request.address) ~= "string" or type(request.node) ~= "string" then
    return nil, "move(vip, node): two texts expected", "EINVAL"
  end
  return giving.move(daemon.announcer, request.address, request.node)
end

function CHANGES.release(daemon, request)
  if type(request.address) ~= "string" then return nil, "release(vip): a text expected", "EINVAL" end
  return giving.release(daemon.announcer, request.address)
end

--- Read the Services again, and try again for those without an address.
function CHANGES.reload(daemon)
  local ok, message, code = daemon.services:refresh()
  if not ok and message then return nil, message, code end
  if daemon.allocator and daemon.allocator:leading() then daemon.allocator:retry_pending() end
  return { services = daemon.services.count }
end

local function describe(connection)
  return { uid = connection.uid, pid = connection.pid }
end

-- Begin to write: said in the log and as an Event on the node, since it is no one Service's business.
local function begin(daemon, connection)
  connection.session = connection.session or {}
  if not connection.session.may_write then
    connection.session.may_write = true
    log.warn("control session may write", describe(connection))
    daemon.events:emit({ apiVersion = "v1", kind = "Node", metadata = { name = daemon.settings.node_name } }, "Normal",
      "WriteSession", ("uid %d began a session that may change moonlb on this node"):format(connection.uid))
  end
  return { may_write = true }
end

--- Add the operations that change something.
-- @tparam table all  name -> function, of `moonlb.control.operations`
-- @tparam Daemon daemon
function changing.add(all, daemon)
  function all.write(_, reply, connection) reply(begin(daemon, connection)) end

  for name, change in pairs(CHANGES) do
    all[name] = function(request, reply, connection)
      if not (connection.session and connection.session.may_write) then
        return reply(nil, ("%s changes something: begin the session with --write"):format(name), "EPERM")
      end
      local result, message, code = change(daemon, request)
      local fields = describe(connection)
      fields.change, fields.address, fields.node, fields.error = name, request.address, request.node, message
      for key, value in pairs(fields) do
        if type(value) ~= "number" then fields[key] = tostring(value):sub(1, 200) end
      end
      log.warn("changed by a person", fields)
      reply(result, message, code)
    end
  end
end

return changing
