--- A small IPAM that stands for NetBox: `GET /api/ipam/ip-addresses/?dns_name=NAME` answers as NetBox does. On
-- loopback, on the running loop.
-- @module spec.support.ipam
local async = require("moonlb.async")
local httpd = require("moonlb.core.httpd")

local ipam = {}

local Ipam = {}
Ipam.__index = Ipam

local function answer(self, request, response)
  local name = (request.query or ""):match("dns_name=([%w.-]+)")
  table.insert(self.asked, name or request.path)
  local function reply()
    if request.path ~= "/api/ipam/ip-addresses/" then return response:send(404, {}, "not found") end
    if self.status ~= 200 then return response:send(self.status, self.headers or {}, self.body or "") end
    local address = self.addresses[name]
    local results = address and ('[{"id": 1, "address": "%s", "dns_name": "%s"}]'):format(address, name) or "[]"
    response:send(200, { ["content-type"] = "application/json" },
      self.body or ('{"count": %d, "next": null, "previous": null, "results": %s}'):format(address and 1 or 0, results))
  end
  if self.delay then async.timer(self.delay, reply) else reply() end
end

--- Start it.
-- @tparam table addresses  {["service.namespace"] = "10.20.0.7/24"}
-- @treturn Ipam  `url`; `asked`: names, in order; `status`, `headers`, `body`, `delay` (seconds) change what it answers
function ipam.start(addresses)
  local self = setmetatable({ addresses = addresses, asked = {}, status = 200 }, Ipam)
  self.server = assert(httpd.listen({ address = "127.0.0.1", port = 0, max_body = 1024 },
    function(request, response) answer(self, request, response) end))
  self.port = self.server:port()
  self.url = "http://127.0.0.1:" .. self.port
  return self
end

function Ipam:stop()
  self.server:close()
end

return ipam
