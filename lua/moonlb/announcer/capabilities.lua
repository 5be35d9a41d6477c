--- What the process must be allowed to do to announce (capabilities(7)).
-- @module moonlb.announcer.capabilities
local capabilities = {}

-- Bit and reason of each (linux/capability.h).
local NEEDED = {
  { name = "CAP_NET_ADMIN", bit = 12, reason = "to put addresses on lo and to set arp_ignore" },
  { name = "CAP_NET_RAW", bit = 13, reason = "to hear and send ARP and neighbour discovery" },
}

--- Which capabilities the process lacks.
-- @tparam string status  the text of /proc/self/status
-- @treturn boolean  true; or nil, message that names each and what it is for, `"EPERM"`
function capabilities.check(status)
  local mask = tonumber(status:match("CapEff:%s*(%x+)"), 16) or 0
  local missing = {}
  for _, capability in ipairs(NEEDED) do
    if mask >> capability.bit & 1 == 0 then
      missing[#missing + 1] = ("%s (%s)"):format(capability.name, capability.reason)
    end
  end
  if #missing == 0 then return true end
  return nil, ("the process lacks %s; in a pod: securityContext.capabilities.add"):format(
    table.concat(missing, " and ")), "EPERM"
end

--- The same for this process.
function capabilities.check_self()
  local file = assert(io.open("/proc/self/status", "r"))
  local status = file:read("a")
  file:close()
  return capabilities.check(status)
end

return capabilities
