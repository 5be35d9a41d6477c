--- Who could own a group, in which order, and who could not and why: for people. It decides nothing.
-- @module moonlb.announcer.candidates
local hash = require("moonlb.announcer.hash")

local candidates = {}

local function why_not(self, name, group, now)
  if not self:alive(name, now) then return "not heard" end
  if name == self.me then
    if self.unwilling[group] then return "cannot serve it" end
    if self.leaving then return "drained, or about to stop" end
    if self:is_quiet(now) then return "listens for a moment before it claims anything" end
    return self:is_behind(now) and "has no view of the API" or nil
  end
  local peer = self.peers[name]
  if peer.gives_all then return "drained, stopping, or out of touch with the API" end
  return peer.said.giving[group] and "says that it cannot serve it" or nil
end

--- The nodes in the order in which they would take the group over, for people.
-- @tparam Claims self
-- @tparam string group
-- @tparam number now  the clock of `step`
-- @treturn table  array of `{name=, rank= from 1, preferred=|nil (place in the leader's ranking), is_me=|nil,
--   is_alive=, heard_at=|nil seconds, qualifies=, why=|nil (why it does not), is_drained=|nil}`
function candidates.list(self, group, now)
  local preferred, list, h = {}, {}, self.group_hash(group)
  for position, name in ipairs(self.place(group) or {}) do preferred[name] = position end
  local function add(name, peer)
    local why = why_not(self, name, group, now)
    list[#list + 1] = { name = name, preferred = preferred[name], is_me = name == self.me or nil,
      is_alive = self:alive(name, now), heard_at = peer and peer.heard_at, qualifies = why == nil, why = why,
      is_drained = (peer and peer.gives_all or name == self.me and self.leaving) or nil }
  end
  add(self.me)
  for name, peer in pairs(self.peers) do add(name, peer) end
  table.sort(list, function(a, b)
    local a_place, b_place = a.preferred or math.huge, b.preferred or math.huge
    if a_place ~= b_place then return a_place < b_place end
    local a_rank, b_rank = hash.rank(h, self.node_hash(a.name)), hash.rank(h, self.node_hash(b.name))
    return a_rank ~= b_rank and a_rank > b_rank or a_rank == b_rank and a.name < b.name
  end)
  for i, it in ipairs(list) do it.rank = i end
  return list
end

return candidates
