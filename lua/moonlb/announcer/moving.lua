--- The announcer's part in planned moves: which requests concern this node, and how to make one.
-- @module moonlb.announcer.moving
local async = require("moonlb.async")
local moves = require("moonlb.announcer.moves")
local null = require("cjson").null

local moving = {}

local Moving = { __name = "moonlb.announcer.moving" }
Moving.__index = Moving

--- @tparam Announcer owner  moonlb.announcer: its Services, groups, placement and Events are used
function moving.new(owner)
  local self = setmetatable({ owner = owner, ranked = {}, keys = {} }, Moving)
  self.moves = moves.new({ after = async.timer,
    take = function(id, term) return owner.placement:move_here(id, term) end,
    tell = function(id, why)
      owner:tell(self.keys[id], "Warning", "MoveWaits", ("not moved to node %s: %s"):format(owner.node, why))
    end })
  return self
end

-- The nodes that the leader ranked first, as text.
local function place_of(service)
  local annotations = service and service.metadata.annotations
  return type(annotations) == "table" and annotations["moonlb.io/place"] or nil
end

--- All that a Service says of nodes, as text.
function moving.wishes(service)
  return (place_of(service) or "") .. "|" .. (moves.text_of(service) or "")
end

--- The nodes that the leader ranked first for the group, or nil.
function Moving:ranking(group)
  for _, key in ipairs(group.services) do
    local text, names = place_of(self.owner.services:get(key)), {}
    for name in (text or ""):gmatch("[^,%s]+") do names[#names + 1] = name end
    if text then return names end
  end
  return nil
end

-- The latest request of the group's Services that names this node: its term.
local function requested_term(self, group)
  local term
  for _, key in ipairs(group.services) do
    local request = moves.of(self.owner.services:get(key))
    if request and request.node == self.owner.node and (not term or request.term > term) then term = request.term end
  end
  return term
end

-- The leader ranked this node first, and it did not before. What was so when this node began moves nothing: a node that
-- comes back leaves every address where it is.
local function is_newly_first(self, group, ranking)
  local text = table.concat(ranking or {}, ",")
  local before = self.ranked[group.id]
  self.ranked[group.id] = text
  return before ~= nil and before ~= text and ranking ~= nil and ranking[1] == self.owner.node
end

--- The group was placed: does anybody want it here?
-- @tparam table group  of moonlb.announcer.groups
-- @tparam boolean is_mine
function Moving:look(group, is_mine)
  local ranking = self:ranking(group)
  local is_first = is_newly_first(self, group, ranking)
  self.keys[group.id] = group.services
  local term = requested_term(self, group)
  if is_mine then
    self.moves:set(group.id, nil)
  elseif term then
    self.moves:set(group.id, term)
  elseif is_first then
    local _, claim = self.owner.placement:owner(group.id)
    self.moves:set(group.id, claim and claim.term or nil)
  elseif not (ranking and ranking[1] == self.owner.node) then
    self.moves:set(group.id, nil)
  end
end

--- The group is no more.
function Moving:forget(id)
  self.ranked[id], self.keys[id] = nil, nil
  self.moves:set(id, nil)
end

-- Write the annotation; `cjson.null` takes it away.
local function annotate(owner, service, text)
  local path = ("/api/v1/namespaces/%s/services/%s/status"):format(service.metadata.namespace, service.metadata.name)
  local response, message, reason = owner.client:merge_patch(path, { metadata = {
    annotations = { [moves.ANNOTATION] = text } } })
  if not response then return nil, message, reason end
  owner.services:absorb(response)
  return true
end

--- Ask, by the API, that the group of an address goes to a node: what `moonlb move` does from anywhere. In a task.
-- @tparam string address
-- @tparam string node
-- @treturn boolean  true: asked; or nil, message, code
function Moving:request(address, node)
  local owner = self.owner
  local key = owner.groups:services_of(address)[1]
  local service = key and owner.services:get(key)
  if not service then return nil, address .. " is no Service's address", "ENOENT" end
  local record = owner:record(owner.groups:of(key))
  if not record then return nil, "no node has claimed " .. address .. " yet", "EAGAIN" end
  if record.node == node then return nil, ("%s is on node %s already"):format(address, node), "EALREADY" end
  return annotate(owner, service, moves.format(node, record.term))
end

--- Take a request back that was not carried out. In a task.
-- @tparam string address
-- @treturn boolean  true; or nil, message, code
function Moving:withdraw(address)
  local key = self.owner.groups:services_of(address)[1]
  local service = key and self.owner.services:get(key)
  if not service then return true end
  return annotate(self.owner, service, null)
end

--- No move is begun any more.
function Moving:stop()
  self.moves:stop()
end

return moving
