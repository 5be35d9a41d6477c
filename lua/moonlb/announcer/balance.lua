--- Which groups have to move so that every node holds as many as the others, give or take one. Pure.
-- @module moonlb.announcer.balance
local balance = {}

local function by_owner(groups, nodes)
  local held = {}
  for _, node in ipairs(nodes) do held[node] = {} end
  for _, group in ipairs(groups) do
    if held[group.node] then table.insert(held[group.node], group) end
  end
  return held
end

-- The names with most and fewest groups; the first by name of equals.
local function extremes(held, nodes)
  local most, fewest = nodes[1], nodes[1]
  for _, node in ipairs(nodes) do
    if #held[node] > #held[most] then most = node end
    if #held[node] < #held[fewest] then fewest = node end
  end
  return most, fewest
end

--- Plan the moves: as few as possible, from the fullest node to the emptiest.
-- @tparam table groups  array of `{id=, node=}` (node: its owner, or nil); those of a node not in `nodes` go first
-- @tparam table nodes  array of names that may hold groups, sorted
-- @tparam[opt] function may  `(group, node) -> boolean`: whether that node can serve the group (all)
-- @treturn table  array of `{group=, from=, to=}`
function balance.plan(groups, nodes, may)
  may = may or function() return true end
  local held, plan = by_owner(groups, nodes), {}
  if not nodes[1] then return plan end
  local function give(group, from)
    table.sort(nodes, function(a, b) return #held[a] < #held[b] or #held[a] == #held[b] and a < b end)
    for _, node in ipairs(nodes) do
      if node ~= from and may(group, node) and (not held[from] or #held[node] + 1 < #held[from]) then
        plan[#plan + 1] = { group = group, from = from, to = node }
        table.insert(held[node], group)
        return true
      end
    end
    return false
  end
  nodes = table.move(nodes, 1, #nodes, 1, {})
  for _, group in ipairs(groups) do
    if group.node and not held[group.node] then give(group, group.node) end
  end
  local is_moving = true
  while is_moving do
    local most, fewest = extremes(held, nodes)
    is_moving = false
    for i = #held[most], 1, -1 do
      if #held[most] - #held[fewest] > 1 and give(held[most][i], most) then
        table.remove(held[most], i)
        is_moving = true
        break
      end
    end
  end
  return plan
end

return balance
