--- What the moonlb that runs here says of itself; without one, only that.
-- @module moonlb.control.doctor.daemon
local words = require("moonlb.control.explain.words")

local list = {}

local LOGS = "kubectl -n kube-system logs -l app.kubernetes.io/name=moonlb"
local LOAD = "see the node's load: top -b -n 1 | head -20; moonlb_loop_lag_seconds among its metrics"

local function check(name, run)
  list[#list + 1] = { name = name, run = function(look, report)
    local state, message, code = look.ask({ op = "health" })
    if state then return run(state, report) end
    if code == "ENOENT" then
      return report("warn", "not looked at: no moonlb runs here", "start it (moonlb run), or ask where it runs: "
        .. "kubectl -n kube-system exec ds/moonlb -- moonlb doctor")
    end
    if code == "ECONNREFUSED" and name == "ready" then	-- said once
      return report("fail", "moonlb ran here and ended without a farewell: " .. message,
        ("see why, and start it again: %s -p; %s"):format(LOGS, words.PODS))
    end
    report("warn", "not looked at: " .. (message or "it does not answer"), code == "ECONNREFUSED" and words.PODS
      or "run it as root: moonlb doctor")
  end }
end

check("ready", function(state, report)
  if state.missing[1] then
    return report("fail", "moonlb is not ready: " .. table.concat(state.missing, "; "),
      "read its log (" .. LOGS .. "), or ask about a Service: moonlb explain NS/NAME")
  end
  report("ok", "moonlb is ready")
end)

check("peers", function(state, report)
  if not state.announces then return report("ok", "this moonlb does not announce") end
  if state.is_alone then return report("ok", "heartbeats are off: this node is the only one") end
  local heard, silent = {}, {}
  for _, it in ipairs(state.peers) do table.insert(it.is_alive and heard or silent, it.name) end
  if silent[1] then
    return report("warn", ("not heard any more: %s"):format(table.concat(silent, ", ")),
      "see that they run, and that heartbeats (UDP port 2113 among them) pass the switch between: " .. words.PODS)
  end
  if not heard[1] then
    return report("warn", "no other node is heard: alone, or cut off",
      "run it on another node as well (moonlb doctor), and see that moonlb runs there: " .. words.PODS)
  end
  report("ok", "heard: " .. table.concat(heard, ", "))
end)

check("pulse", function(state, report)
  if not state.announces then return report("ok", "this moonlb does not announce") end
  if state.mute then
    return report("fail", "the pulse is mute (" .. state.mute .. "): nothing is answered", LOAD)
  end
  if state.events_lost and state.events_lost > 0 then
    return report("warn", ("%d events of the pulse were lost"):format(state.events_lost), LOAD)
  end
  report("ok", "the pulse answers")
end)

return list
