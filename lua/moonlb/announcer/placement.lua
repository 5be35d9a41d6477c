--- Placement on a single node: every group this node qualifies for is its own.
-- The seam is that of many nodes: groups come in with what the API remembers of their claim, ownership goes out as a
-- claim `(term, node)`. Here nobody else speaks, so only this node's willingness decides.
-- @module moonlb.announcer.placement
local placement = {}

local Placement = { __name = "moonlb.announcer.placement" }
Placement.__index = Placement

--- @tparam table options  `node` (name); `on_change(group_id)`: ownership or claim of a group changed
function placement.new(options)
  return setmetatable({ node = assert(options.node), on_change = options.on_change, groups = {} }, Placement)
end

-- Is claim `a` below claim `b`? Order: term, then node name.
local function is_below(a, b)
  if a.term ~= b.term then return a.term < b.term end
  return a.node < b.node
end

--- The text of annotation `moonlb.io/claim`, "term node", or nil, message, "EINVAL".
function placement.parse_claim(text)
  local term, node = text:match("^(%d+) (%S+)$")
  term = term and #term <= 15 and math.tointeger(tonumber(term))
  if not term then return nil, ("claim %q is not \"term node\""):format(text), "EINVAL" end
  return { term = term, node = node }
end

--- A group as it is now.
-- @tparam table group  `id`, `record` (the claim that the API remembers, or nil), `trouble` (why this node does not
--   qualify, or nil)
function Placement:update(group)
  local state = self.groups[group.id] or {}
  self.groups[group.id] = state
  local was_mine, before = state.is_mine, state.claim
  if group.record and (not state.claim or is_below(state.claim, group.record)) then state.claim = group.record end
  state.is_mine = not group.trouble
  if state.is_mine and not (state.claim and state.claim.node == self.node) then
    state.claim = { term = (state.claim and state.claim.term or 0) + 1, node = self.node }
  end
  if was_mine ~= nil and (was_mine ~= state.is_mine or before ~= state.claim) then self.on_change(group.id) end
end

--- The group is no more.
function Placement:remove(id)
  self.groups[id] = nil
end

--- Who owns the group.
-- @treturn boolean  this node does
-- @treturn table|nil  the claim `{term=, node=}`
function Placement:owner(id)
  local state = self.groups[id]
  if not state then return false, nil end
  return state.is_mine, state.claim
end

return placement
