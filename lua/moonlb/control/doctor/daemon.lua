--- What the moonlb that runs here says of itself; without one, only that.
-- @module moonlb.control.doctor.daemon
local list = {}

local function check(name, run)
  list[#list + 1] = { name = name, run = function(look, report)
    local state, message, code = look.ask({ op = "health" })
    if state then return run(state, report) end
    if code == "ENOENT" then return report("warn", "not looked at: no moonlb runs here") end
    report("warn", "not looked at: " .. (message or "it does not answer"))
  end }
end

check("ready", function(state, report)
  if state.missing[1] then
    return report("fail", "moonlb is not ready: " .. table.concat(state.missing, "; "),
      "read its log; moonlb explain NS/NAME")
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
      "see those nodes, and that EtherType and UDP port 2113 pass the switch between")
  end
  if not heard[1] then
    return report("warn", "no other node is heard: alone, or cut off", "moonlb doctor on another node")
  end
  report("ok", "heard: " .. table.concat(heard, ", "))
end)

check("pulse", function(state, report)
  if not state.announces then return report("ok", "this moonlb does not announce") end
  if state.mute then
    return report("fail", "the pulse is mute (" .. state.mute .. "): nothing is answered", "see the node's load")
  end
  if state.events_lost and state.events_lost > 0 then
    return report("warn", ("%d events of the pulse were lost"):format(state.events_lost), "see the node's load")
  end
  report("ok", "the pulse answers")
end)

return list
