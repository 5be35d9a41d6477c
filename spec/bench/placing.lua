--- What the rules cost the loop when a node dies that held everything: 100 nodes, 1,000 groups, the longest and the sum
-- of the steps of a survivor until all is taken (bar: nothing holds the loop for longer than 20 ms); and what a quiet
-- tick costs a node that holds 1,000 groups among 10 and 100 peers (ten a second).
--
--     build/moonlb-spec --script spec/bench/placing.lua
local claims = require("moonlb.announcer.claims")
collectgarbage("incremental", 125, 200) -- as the daemon has it

local GROUPS, TICK = 1000, claims.TICK

local function frame(from, digest, statements)
  return { from = from, digest = digest, statements = statements, relays = {}, heard = {}, want = {},
    whole = statements[1] and { id = 1, index = 1, total = 1 } or nil }
end

-- A node that knows all groups, and `count` peers; the first of them holds every group if `is_held_there`.
local function new(count, is_held_there)
  local node = claims.new({ me = "node-0", gap = false, send = function() end, announce = function() end,
    withdraw = function() end })
  local digest, list = 0, {}
  if is_held_there then
    local said = require("moonlb.announcer.statements").new(node.group_hash)
    for i = 1, GROUPS do said:set("group-" .. i, 2, false) end
    digest, list = said.digest, said:list()
  end
  for i = 1, GROUPS do node:set_group("group-" .. i, true, 0) end
  node:start(0)
  local function hear(now, first, statements)
    for i = first, count do node:hear(frame("node-" .. i, i == 1 and digest or 0, i == 1 and statements or {}), now) end
  end
  hear(0, 1, list)
  return node, hear
end

local function timed(fn)
  local began = os.clock()
  fn()
  return os.clock() - began
end

for _, count in ipairs({ 10, 100 }) do
  local node, hear = new(count, true)
  local now, longest, sum = 0, 0, 0
  while now < 0.9 do
    now = now + TICK
    hear(now, 1, {})
    node:step(now)
  end
  local open
  -- The first peer falls silent; nobody else takes anything, so every turn up to the last comes.
  local silent_since = now
  repeat
    now = now + 0.02
    if (now * 1000) // 1 % 100 < 20 then hear(now, 2, {}) end
    local took = timed(function() node:step(now) end)
    longest, sum = math.max(longest, took), sum + took
    open = next(node.open)
  until now - silent_since > 0.5 and not open or now - silent_since > 10
  local mine = 0
  for _ in pairs(node.announcing) do mine = mine + 1 end
  print(("%3d nodes, %d groups of a dead one: longest step %.1f ms, %.0f ms in all, %d taken in %.1f s"):format(count,
    GROUPS, longest * 1e3, sum * 1e3, mine, now - silent_since))
end

for _, count in ipairs({ 10, 100 }) do
  local node, hear = new(count, false)
  for i = 1, 20 do
    hear(i * TICK, 1, {})
    node:step(i * TICK)
  end
  for group in pairs(node.groups) do if not node.announcing[group] then node:take(group) end end
  local ROUNDS = 500
  local took = timed(function()
    for i = 21, 20 + ROUNDS do
      local now = i * TICK
      for peer = 1, count do node:beat("node-" .. peer, now, now) end
      node:step(now)
      node:send(now)
    end
  end)
  print(("%3d peers, %d groups held: %.0f us a quiet tick, %.2f %% of a core"):format(count, GROUPS,
    took / ROUNDS * 1e6, took / ROUNDS * 10 * 100))
end
