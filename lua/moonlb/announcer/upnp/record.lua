--- What a Service says of its ports on the router: annotation `moonlb.io/upnp`, entries of status. Pure.
-- @module moonlb.announcer.upnp.record
local address = require("moonlb.core.address")

local record = {}

--- `"<outside address>:<port>/<TCP|UDP> -> <port of the Service>[, ...]"`; an IPv6 address in brackets.
record.ANNOTATION = "moonlb.io/upnp"

-- RFC 1918, RFC 6598 (shared with the provider's other customers), RFC 3927, and no address at all.
local NOT_PUBLIC = address.set()
for _, text in ipairs({ "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
  "192.168.0.0/16" }) do
  local item = assert(address.item(text))
  NOT_PUBLIC:add(item.first, item.last)
end

--- Why nobody on the internet reaches that address of a gateway, or nil.
function record.double_nat(outside)
  if not outside then return "the gateway does not say its outside address" end
  if not NOT_PUBLIC:contains(outside) then return nil end
  return ("the gateway's outside address %s is private: another router (or the provider's) stands before it and has to "
    .. "forward as well"):format(outside)
end

local function place(entry)
  local host = entry.outside or "?"
  return (host:find(":", 1, true) and "[%s]:%d/%s" or "%s:%d/%s"):format(host, entry.external_port, entry.protocol)
end

--- One mapping in words, for Events.
function record.text(entry)
  return ("%s leads to port %d of %s"):format(place(entry), entry.port, entry.address)
end

local function in_order(a, b)
  if a.port ~= b.port then return a.port < b.port end
  if a.protocol ~= b.protocol then return a.protocol < b.protocol end
  return a.address < b.address
end

--- The annotation's value, or nil when nothing is mapped.
-- @tparam table entries  array of `{outside=|nil, external_port=, protocol=, port=, address=}`
function record.format(entries)
  local parts = {}
  table.sort(entries, in_order)
  for i, entry in ipairs(entries) do parts[i] = ("%s -> %d"):format(place(entry), entry.port) end
  return parts[1] and table.concat(parts, ", ") or nil
end

--- The entries for status.loadBalancer.ingress: the outside addresses with the ports there.
-- @treturn table  array of `{ip=, ipMode="Proxy", ports=}`
function record.ingress(entries)
  local list, by_ip = {}, {}
  table.sort(entries, in_order)
  for _, entry in ipairs(entries) do
    if entry.outside then
      local it = by_ip[entry.outside]
      if not it then
        it = { ip = entry.outside, ipMode = "Proxy", ports = {} }
        by_ip[entry.outside], list[#list + 1] = it, it
      end
      it.ports[#it.ports + 1] = { port = entry.external_port, protocol = entry.protocol }
    end
  end
  return list
end

return record
