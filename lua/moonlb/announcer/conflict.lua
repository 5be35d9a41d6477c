--- Annotation `moonlb.io/conflict`: how the announcer tells the allocator, and people, which addresses strangers hold.
-- `"<address> <mac> <interface> <node> <until, RFC 3339 UTC>[, ...]"`. Pure.
-- @module moonlb.announcer.conflict
local timestamp = require("moonlb.kube.timestamp")

local conflict = {}

--- The annotation's name.
conflict.ANNOTATION = "moonlb.io/conflict"

--- @tparam table entries  array of `{address=, mac=, interface=, node=, expires=seconds since 1970}`
-- @treturn string|nil  nil when there is none
function conflict.format(entries)
  local parts = {}
  for i, entry in ipairs(entries) do
    parts[i] = ("%s %s %s %s %s"):format(entry.address, entry.mac, entry.interface, entry.node,
      timestamp.format(entry.expires))
  end
  return parts[1] and table.concat(parts, ", ") or nil
end

--- What format() made. Entries that are no such thing are left out: anybody may write the annotation.
-- @treturn table  array of entries
function conflict.parse(text)
  local entries = {}
  for part in (text or ""):gmatch("[^,]+") do
    local address, mac, interface, node, expires = part:match("^%s*(%S+) (%S+) (%S+) (%S+) (%S+)%s*$")
    expires = timestamp.seconds(expires)
    if expires then
      entries[#entries + 1] = { address = address, mac = mac, interface = interface, node = node, expires = expires }
    end
  end
  return entries
end

return conflict
