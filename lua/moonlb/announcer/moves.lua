--- Planned moves to this node: asked for by the annotation `moonlb.io/move` on a Service, or by the leader, who ranked
-- this node first. The wanted owner takes the group with the next term, the former one hears it and yields; both
-- accept meanwhile, so no packet is lost. One after another, whatever comes at once.
-- @module moonlb.announcer.moves
local moves = {}

local Moves = { __name = "moonlb.announcer.moves" }
Moves.__index = Moves

--- Annotation "node term": the group is to go to that node, if its claim is not above that term. A request is spent
-- when it is carried out, since the term has grown: nobody has to take the annotation away.
moves.ANNOTATION = "moonlb.io/move"

--- Seconds between two moves to this node.
moves.PAUSE = 0.2
-- Seconds after which what could not move yet is tried again.
local RETRY = 1

--- The text of the annotation, or nil, message, "EINVAL".
-- @treturn table  `{node=, term=}`
function moves.parse(text)
  local node, term = text:match("^(%S+) (%d+)$")
  term = term and #term <= 15 and math.tointeger(tonumber(term))
  if not term or #node > 253 then return nil, ("%q is not \"node term\""):format(text), "EINVAL" end
  return { node = node, term = term }
end

--- The annotation's text. @tparam string node @tparam integer term
function moves.format(node, term)
  return ("%s %d"):format(node, term)
end

--- The annotation of a Service, or nil.
-- @tparam table|nil service
function moves.text_of(service)
  local annotations = service and service.metadata.annotations
  local text = type(annotations) == "table" and annotations[moves.ANNOTATION]
  return type(text) == "string" and text or nil
end

--- What a Service asks for, or nil.
-- @tparam table|nil service
-- @treturn table|nil  `{node=, term=}`
function moves.of(service)
  local text = moves.text_of(service)
  return text and moves.parse(text) or nil
end

--- @tparam table options  `take(id, term)`: see Placement:move_here; `after(seconds, fn)`; `tell(id, message)`: people
--   are to know why a group does not move yet
function moves.new(options)
  return setmetatable({ take = options.take, after = options.after, tell = options.tell, wanted = {}, order = {} },
    Moves)
end

local function forget(self, id)
  self.wanted[id] = nil
  for i, other in ipairs(self.order) do
    if other == id then return table.remove(self.order, i) end
  end
end

-- Carry out the first request that can be; the others are looked at after it.
local function run(self)
  self.is_due = false
  local pause = RETRY
  for _, id in ipairs({ table.unpack(self.order) }) do
    local request = self.wanted[id]
    local taken, why = self.take(id, request.term)
    if taken ~= nil then forget(self, id) end
    if taken then
      pause = moves.PAUSE
      break
    elseif why and request.why ~= why then
      request.why = why
      self.tell(id, why)
    end
  end
  self:look(pause)
end

--- Look at the requests in `seconds`, if there are any.
function Moves:look(seconds)
  if self.is_due or self.is_stopped or not self.order[1] then return end
  self.is_due = true
  self.after(seconds, function()
    if not self.is_stopped then run(self) end
  end)
end

--- A group is to come to this node; `nil` takes it back.
-- @tparam string id  of the group
-- @tparam[opt] integer term  of the claim that the request looked at
function Moves:set(id, term)
  local known = self.wanted[id]
  if term == nil then
    if known then forget(self, id) end
  elseif not known then
    self.wanted[id] = { term = term }
    self.order[#self.order + 1] = id
    self:look(0)
  elseif known.term ~= term then
    known.term, known.why = term, nil
  end
end

--- No move is begun any more.
function Moves:stop()
  self.is_stopped = true
end

return moves
