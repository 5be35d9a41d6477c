--- What the announcer enters into the flight recorder.
-- @module moonlb.announcer.notes
local recorder = require("moonlb.recorder")

local notes = {}

--- A claim on a group, when it is another than the one that was noted last.
-- @tparam table noted  group id -> text of the last one; kept by the announcer
-- @tparam table group
-- @tparam boolean is_mine
-- @tparam table|nil claim
function notes.owner(noted, group, is_mine, claim)
  local text = claim and ("%d %s %s"):format(claim.term, claim.node, is_mine) or nil
  if noted[group.id] == text then return end
  noted[group.id] = text
  for _, key in ipairs(text and group.services or {}) do
    recorder.note("owner", key, { node = claim.node, term = claim.term, is_here = is_mine })
  end
end

--- A VIP changed its state.
function notes.vip(it, old)
  recorder.note("vip", it.address, { from = old, to = it.state, reason = it.reason,
    interface = it.interface and it.interface.name })
end

--- A stranger's claim (an event of the pulse).
function notes.conflict(event)
  recorder.note("conflict", event.address, { mac = event.mac, operation = event.operation })
end

--- The pulse went mute, or answers again.
function notes.pulse(node, is_mute, reason)
  recorder.note("pulse", node, { is_mute = is_mute, reason = reason })
end

return notes
