--- What one node says of groups, as others know it: a set with a digest, kept equal by changes and, where a frame was
-- lost, by asking for the whole set. A frame's size therefore does not grow with the groups that a node holds.
--
-- A statement is about one group: `term` (the node's own claim, 0 = it claims nothing) and `giving` (it cannot or will
-- not serve the group). A node that says nothing about a group has no statement.
-- @module moonlb.announcer.statements
local hash = require("moonlb.announcer.hash")

local statements = {}

local Statements = { __name = "moonlb.announcer.statements" }
Statements.__index = Statements

--- An empty set.
-- @tparam function group_hash  group -> 64-bit hash
-- @treturn Statements
function statements.new(group_hash)
  return setmetatable({ group_hash = group_hash, term = {}, giving = {}, digest = 0, count = 0 }, Statements)
end

local function fingerprint(self, group)
  local term, giving = self.term[group] or 0, self.giving[group]
  if term == 0 and not giving then return nil end
  return hash.mix(self.group_hash(group) + term * 2 + (giving and 1 or 0))
end

--- Say something of a group; `term` 0 and `giving` false takes the statement back.
-- @tparam string group
-- @tparam integer term
-- @tparam boolean giving
-- @treturn boolean  whether that changed the set
function Statements:set(group, term, giving)
  local before = fingerprint(self, group)
  self.term[group] = term ~= 0 and term or nil
  self.giving[group] = giving or nil
  local after = fingerprint(self, group)
  if before == after then return false end
  self.digest = self.digest ~ (before or 0) ~ (after or 0)
  self.count = self.count + (after and 1 or 0) - (before and 1 or 0)
  return true
end

--- Every statement as `{group, term, giving}`, in no particular order.
-- @treturn table
function Statements:list()
  local list = {}
  for group, term in pairs(self.term) do list[#list + 1] = { group, term, self.giving[group] or false } end
  for group in pairs(self.giving) do
    if not self.term[group] then list[#list + 1] = { group, 0, true } end
  end
  return list
end

return statements
