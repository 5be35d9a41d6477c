--- `moonlb move`: one address, and all that share its fate, to a node of one's choice.
-- @module moonlb.cli.move
local moving = require("moonlb.cli.moving")

-- The group that an address, or a Service as namespace/name, belongs to.
local function find(list, what)
  for _, group in ipairs(list) do
    for _, address in ipairs(group.addresses) do
      if address == what then return group end
    end
    for _, service in ipairs(group.services) do
      if service.metadata.namespace .. "/" .. service.metadata.name == what then return group end
    end
  end
  return nil
end

local function move(client, what, node)
  local list, message = moving.read(client)
  if not list then return nil, message end
  local group = find(list, what)
  if not group then return nil, what .. " is no address of a Service, and no Service, that moonlb announces" end
  if not group.claim then return nil, "no node has claimed " .. what .. " yet" end
  if group.node == node then
    print(("%s is on node %s"):format(moving.describe(group), node))
    return 0
  end
  local _, missing, reason = client:get("/api/v1/nodes/" .. node)
  if reason == "NotFound" then return nil, missing end
  local from = group.node
  local took, why = moving.move(client, group, node)
  if not took then return nil, why end
  print(("%s: %s -> %s, %.0f ms"):format(moving.describe(group), from, node, took * 1000))
  return 0
end

return {
  name = "move",
  summary = "move an address to another node, without a lost packet",
  configure = function(parser)
    parser:argument("vip", "an address, or a Service as NAMESPACE/NAME"):argname("VIP")
    parser:argument("node", "where it is to go"):argname("NODE")
    moving.configure(parser)
  end,
  run = function(arguments)
    if not arguments.node:match("^[%w][%w.-]*$") or #arguments.node > 253 then
      io.stderr:write(("moonlb move: %q is no name of a node\n"):format(arguments.node))
      return 2
    end
    return moving.run("move", arguments, function(client) return move(client, arguments.vip, arguments.node) end)
  end,
}
