--- Tells another controller that fights over our fields from a user who edits them. Pure: it is told what we wrote
-- and what the API shows.
--
-- A field of ours that somebody changes within 10 s of our write is an overwrite. A second one in a row by a program is
-- a fight: writing on would go on for ever. People (kubectl) may change their minds as often as they like.
-- @module moonlb.allocator.overwrites
local fields = require("moonlb.allocator.fields")

local overwrites = {}

local Overwrites = { __name = "moonlb.allocator.overwrites" }
Overwrites.__index = Overwrites

--- A change within so many seconds of our write is an answer to it.
overwrites.WINDOW = 10
--- Overwrites in a row that are a fight: by a program that managedFields names, or by whom nobody can name. Fields that
-- were taken away have no manager: whoever clears them is nameless, and is often a person in the midst of trying.
overwrites.LIMIT, overwrites.NAMELESS_LIMIT = 2, 8
--- A Service that is fought over is left alone for so many seconds.
overwrites.HALT = 600

--- Nothing written yet.
-- @tparam table options  `now`: seconds of a clock that never jumps
-- @treturn Overwrites
function overwrites.new(options)
  return setmetatable({ now = options.now, written = {}, rows = {}, halted = {},
    order = {}, first = 1, last = 0 }, Overwrites)
end

local function text(map, name)
  local value = type(map) == "table" and map[name]
  return type(value) == "string" and value or ""
end

-- What the object has in the fields that the allocator writes.
local function read(object)
  local metadata = object.metadata
  return table.concat({
    text(metadata.annotations, fields.ASSIGNED), text(metadata.annotations, fields.ADDRESSES),
    text(metadata.labels, fields.LABEL), text(object.spec, "loadBalancerIP"),
  }, "\n")
end

-- Writes of long ago are of no interest: only those of the last seconds are kept.
local function forget_old(self)
  local oldest = self.now() - overwrites.WINDOW
  while self.first <= self.last and self.order[self.first].at < oldest do
    local entry = self.order[self.first]
    if self.written[entry.key] == entry then self.written[entry.key] = nil end
    self.order[self.first] = nil
    self.first = self.first + 1
  end
end

--- A write of ours was answered with this object.
function Overwrites:wrote(key, object)
  forget_old(self)
  local entry = { key = key, at = self.now(), fields = read(object), version = object.metadata.resourceVersion }
  self.written[key] = entry
  self.last = self.last + 1
  self.order[self.last] = entry
end

--- The API shows this object.
-- @treturn number|nil  overwrites in a row, when this is one
function Overwrites:saw(key, object)
  local ours = self.written[key]
  if not ours or object.metadata.resourceVersion == ours.version or read(object) == ours.fields then return nil end
  local now = self.now()
  local row = self.rows[key]
  self.written[key] = nil
  if now - ours.at > overwrites.WINDOW then
    self.rows[key] = nil
    return nil
  end
  if not row or now - row.at > 2 * overwrites.WINDOW then row = { count = 0 } end
  row.count, row.at = row.count + 1, now
  self.rows[key] = row
  return row.count
end

--- It was a person: what was overwritten until now is no fight.
function Overwrites:excuse(key)
  self.rows[key] = nil
end

--- Leave the Service alone for a while.
function Overwrites:halt(key)
  self.halted[key] = self.now() + overwrites.HALT
  self.rows[key] = nil
end

--- Whether it is left alone.
-- @treturn number|nil  seconds until it is looked at again
function Overwrites:pause(key)
  local rest = self.halted[key] and self.halted[key] - self.now()
  if rest and rest > 0 then return rest end
  self.halted[key] = nil
  return nil
end

--- The Service is gone.
function Overwrites:forget(key)
  self.written[key], self.rows[key], self.halted[key] = nil, nil, nil
end

-- Whether a fieldsV1 tree (structured-merge-diff's notation) holds one of our fields.
local function owns_ours(tree)
  if type(tree) ~= "table" then return false end
  local function at(...)
    local node = tree
    for _, name in ipairs({ ... }) do
      node = type(node) == "table" and node["f:" .. name]
    end
    return node ~= nil and node ~= false
  end
  return at("metadata", "annotations", fields.ASSIGNED) or at("metadata", "annotations", fields.ADDRESSES)
    or at("metadata", "labels", fields.LABEL) or at("spec", "loadBalancerIP")
end

--- Who else wrote our fields last, by metadata.managedFields (meta/v1 ManagedFieldsEntry).
-- @tparam table object  with its managedFields
-- @tparam string own  our manager's name
-- @treturn string|nil  the manager's name
function overwrites.manager(object, own)
  local entries = type(object.metadata.managedFields) == "table" and object.metadata.managedFields or {}
  local latest
  for _, entry in ipairs(entries) do
    if type(entry.manager) == "string" and entry.manager ~= own and owns_ours(entry.fieldsV1)
      and (not latest or text(entry, "time") >= text(latest, "time")) then
      latest = entry
    end
  end
  return latest and latest.manager
end

--- Whether a manager's name is that of the program people type with.
function overwrites.is_person(manager)
  return manager:find("^kubectl") ~= nil
end

return overwrites
