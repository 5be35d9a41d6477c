--- Groups: the Services joined by a shared address, with all their addresses. The unit that one node owns.
-- Keyed by the oldest Service's UID, so that a joining Service moves nothing. Pure.
-- @module moonlb.announcer.groups
local groups = {}

local Groups = { __name = "moonlb.announcer.groups" }
Groups.__index = Groups

--- An empty set of Services.
function groups.new()
  return setmetatable({ members = {}, holders = {}, count = 0 }, Groups)
end

--- Enter, change or (with nil) remove a Service.
-- @tparam string key  namespace/name
-- @tparam table|nil member  `{uid=, created=, addresses={...}}`
function Groups:set(key, member)
  local old = self.members[key]
  for _, ip in ipairs(old and old.addresses or {}) do
    self.holders[ip][key] = nil
    if not next(self.holders[ip]) then self.holders[ip] = nil end
  end
  self.members[key] = member
  for _, ip in ipairs(member and member.addresses or {}) do
    self.holders[ip] = self.holders[ip] or {}
    self.holders[ip][key] = true
  end
end

--- The keys of the Services that hold `ip`, sorted.
function Groups:services_of(ip)
  local keys = {}
  for key in pairs(self.holders[ip] or {}) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function is_older(a, b)
  if a.created ~= b.created then return a.created < b.created end
  return a.uid < b.uid
end

--- The group that `key` is in, or nil.
-- @treturn table  `{id=, services={keys, sorted}, addresses={...}}`
function Groups:of(key)
  if not self.members[key] then return nil end
  local group = { services = { key }, addresses = {} }
  local seen, seen_address, oldest = { [key] = true }, {}, self.members[key]
  local i = 0
  while i < #group.services do
    i = i + 1
    local member = self.members[group.services[i]]
    if is_older(member, oldest) then oldest = member end
    for _, ip in ipairs(member.addresses) do
      if not seen_address[ip] then
        seen_address[ip] = true
        group.addresses[#group.addresses + 1] = ip
        for other in pairs(self.holders[ip]) do
          if not seen[other] then
            seen[other] = true
            group.services[#group.services + 1] = other
          end
        end
      end
    end
  end
  table.sort(group.services)
  table.sort(group.addresses)
  group.id = oldest.uid
  return group
end

return groups
