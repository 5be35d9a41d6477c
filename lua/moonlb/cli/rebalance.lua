--- `moonlb rebalance`: spread the addresses over the nodes, one move after another.
-- @module moonlb.cli.rebalance
local async = require("moonlb.async")
local balance = require("moonlb.announcer.balance")
local moving = require("moonlb.cli.moving")
local peers = require("moonlb.announcer.peers")

-- A node that did not take so many groups in a row takes none of the others.
local GIVE_UP = 2

local function is_ready(node)
  local conditions = type(node.status) == "table" and node.status.conditions
  for _, condition in ipairs(type(conditions) == "table" and conditions or {}) do
    if condition.type == "Ready" then return condition.status == "True" end
  end
  return true
end

-- The names of the nodes that may hold addresses, by what their objects say.
local function read_nodes(client, values, only)
  local names, is_wanted = {}, {}
  for _, name in ipairs(only or {}) do is_wanted[name] = true end
  local ok, message = client:list("/api/v1/nodes", {}, function(items)
    for _, node in ipairs(items) do
      if is_ready(node) and not peers.serves_nothing(node, values) and (not only or is_wanted[node.metadata.name]) then
        names[#names + 1] = node.metadata.name
      end
    end
  end)
  if not ok then return nil, "cannot list Nodes: " .. message end
  table.sort(names)
  return names
end

-- Carry out one planned move. What a node refuses is not asked of it again.
local function carry_out(client, step, state)
  local from = step.group.node
  local took, message = moving.move(client, step.group, step.to)
  if took then
    state.moved, state.refusals[step.to] = state.moved + 1, nil
    print(("%s: %s -> %s, %.0f ms"):format(moving.describe(step.group), from, step.to, took * 1000))
  else
    state.failed = state.failed + 1
    state.refused[step.group.id .. " " .. step.to] = true
    state.refusals[step.to] = (state.refusals[step.to] or 0) + 1
    print(("%s: stays on %s: %s"):format(moving.describe(step.group), from, message))
  end
end

-- Plan anew after each round: what was refused, or moved by itself, changes the rest.
local function rebalance(client, values, arguments)
  local nodes, message = read_nodes(client, values, arguments.nodes)
  if not nodes then return nil, message end
  local state = { refused = {}, refusals = {}, moved = 0, failed = 0 }
  local function may(group, node)
    return not state.refused[group.id .. " " .. node] and (state.refusals[node] or 0) < GIVE_UP
  end
  local list
  list, message = moving.read(client)
  if not list then return nil, message end
  local plan = balance.plan(list, nodes, may)
  if arguments.dry_run then
    for _, step in ipairs(plan) do
      print(("%s: %s -> %s"):format(moving.describe(step.group), step.from, step.to))
    end
    print(("%d of %d would move"):format(#plan, #list))
    return 0
  end
  while plan[1] do
    local tasks = {}
    for i = 1, math.min(arguments.parallel, #plan) do
      tasks[i] = async.run(function() carry_out(client, plan[i], state) end)
    end
    for _, task in ipairs(tasks) do task:join() end
    plan = balance.plan(list, nodes, may)
  end
  print(("%d of %d moved, %d refused"):format(state.moved, #list, state.failed))
  return state.failed == 0 and 0 or 1
end

return {
  name = "rebalance",
  summary = "spread the addresses over the nodes, one move after another",
  configure = function(parser)
    parser:flag("--dry-run", "say what would move, and move nothing")
    parser:option("--parallel", "how many move at a time"):default("1"):argname("N"):convert(function(text)
      local count = math.tointeger(tonumber(text))
      if count and count >= 1 and count <= 64 then return count end
      return nil, "--parallel " .. text .. ": 1 to 64 expected"
    end)
    parser:option("--nodes", "these nodes alone (default: all that are ready and may hold addresses)"):argname("A,B")
      :convert(function(text)
        local names = {}
        for name in text:gmatch("[^,%s]+") do names[#names + 1] = name end
        return names
      end)
    moving.configure(parser, { ignore_exclude_lb = true, node_selector = true })
  end,
  run = function(arguments)
    return moving.run("rebalance", arguments, function(client, values)
      return rebalance(client, values, arguments)
    end)
  end,
}
