--- Two controllers that write the same fields would go on for ever: noticed after the second time within 10 s.
-- @module moonlb.allocator.overwrites
local fields = require("moonlb.allocator.fields")

local overwrites = {}

local Overwrites = { __name = "moonlb.allocator.overwrites" }
Overwrites.__index = Overwrites

overwrites.WINDOW = 10 -- seconds after our write within which somebody else's counts
overwrites.LIMIT = 2 -- so many of them stop us
overwrites.HALT = 600 -- seconds for which the Service is left alone

--- @tparam table options  `now`: seconds
function overwrites.new(options)
  return setmetatable({ now = options.now, writes = {} }, Overwrites)
end

local function map(value) return type(value) == "table" and value or {} end

-- Our fields as one text.
local function ours(service)
  local annotations, labels = map(service.metadata.annotations), map(service.metadata.labels)
  return table.concat({ tostring(annotations[fields.ASSIGNED]), tostring(annotations[fields.ADDRESSES]),
    tostring(labels[fields.LABEL]), tostring(map(service.spec).loadBalancerIP) }, "\0")
end

--- We wrote the Service; `service` is what the API made of it.
function Overwrites:wrote(key, service)
  local before = self.writes[key]
  local now = self.now()
  local goes_on = before and now - before.at < overwrites.WINDOW
  self.writes[key] = { at = now, text = ours(service), version = service.metadata.resourceVersion,
    count = goes_on and before.count or 0 }
end

--- A Service as an event shows it.
-- @treturn boolean  true when this is the overwrite that stops us
function Overwrites:saw(key, service)
  local write = self.writes[key]
  if not write or write.halted_at or service.metadata.resourceVersion == write.version then return false end
  if self.now() - write.at >= overwrites.WINDOW then
    self.writes[key] = nil
    return false
  end
  if write.text == ours(service) or write.is_counted then return false end
  write.is_counted = true
  write.count = write.count + 1
  if write.count < overwrites.LIMIT then return false end
  write.halted_at = self.now()
  return true
end

--- Whether the Service is left alone now.
function Overwrites:is_halted(key)
  local write = self.writes[key]
  if not write or not write.halted_at then return false end
  if self:rest(key) > 0 then return true end
  self.writes[key] = nil
  return false
end

--- Seconds until a halted Service is looked at again.
function Overwrites:rest(key)
  return math.max(0, self.writes[key].halted_at + overwrites.HALT - self.now())
end

--- The Service is gone.
function Overwrites:forget(key)
  self.writes[key] = nil
end

--- Who wrote the Service last, from its managedFields.
-- @tparam Client client  moonlb.kube.client
-- @tparam string path
-- @treturn string  "field manager NAME", or "another controller"
function overwrites.last_manager(client, path)
  local object = client:get(path, { keep_managed = true })
  local latest
  for _, entry in ipairs(object and map(object.metadata.managedFields) or {}) do
    local is_later = not latest or tostring(entry.time) > tostring(latest.time)
    if entry.manager ~= "moonlb" and is_later then latest = entry end
  end
  return latest and "field manager " .. tostring(latest.manager) or "another controller"
end

return overwrites
