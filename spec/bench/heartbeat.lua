--- What heartbeats cost with 10 and 100 peers: CPU time of hearing and composing one, bytes of one, and what that makes
-- of a core at 10 ticks a second. Bar of DESIGN.md section 8: with 1,000 VIPs 0.5 % with 10 peers, 2 % with 100.
local heartbeat = require("moonlb.core.heartbeat")

local KEY, MAC = ("k"):rep(32), "02:00:00:00:00:01"
local ROUNDS = 200

local function node(name, nonce)
  return heartbeat.segment({ node = name, cluster = "bench", key = KEY, nonce = nonce, vouch = 3600, silent = 3600 })
end

-- Everybody believes everybody.
local function greet(nodes, now)
  for round = 1, 6 do
    for _, from in ipairs(nodes) do
      local payload = from:compose({ digest = 0 }, now + round / 100, MAC)[1]
      for _, to in ipairs(nodes) do
        if to ~= from then to:hear(payload, now + round / 100) end
      end
    end
  end
end

for _, count in ipairs({ 10, 100 }) do
  local nodes = {}
  for i = 1, count + 1 do nodes[i] = node("node-" .. i, i) end
  greet(nodes, 0)
  local me, body, payloads = nodes[1], { digest = 7 }, {}
  local peer, bytes = nodes[2], 0
  for i = 1, ROUNDS do
    payloads[i] = peer:compose(body, 1 + i / 1000, MAC)[1]
    bytes = #payloads[i]
  end
  local started, same = os.clock(), 0
  for i = 1, ROUNDS do same = same + (me:hear(payloads[i], 2 + i / 1000) == "same" and 1 or 0) end
  local hearing = (os.clock() - started) / ROUNDS
  started = os.clock()
  for i = 1, ROUNDS do me:compose(body, 3 + i / 1000, MAC) end
  local composing = (os.clock() - started) / ROUNDS
  print(("%3d peers: %4d bytes, hear %4.1f us (%d of %d unchanged), compose %4.1f us; "
    .. "%5.1f kbit/s, %.2f %% of a core"):format(
    count, bytes, hearing * 1e6, same, ROUNDS, composing * 1e6, bytes * 8 * 10 * count / 1000,
    (hearing * count + composing) * 10 * 100))
end
