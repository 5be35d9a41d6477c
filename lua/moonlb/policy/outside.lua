--- The HTTP client behind `http.get` of policies: plain GET requests, without credentials, proxy or redirects. Which
-- hosts may be asked is decided by `moonlb.policy.http`.
-- @module moonlb.policy.outside
local core_kube = require("moonlb.core.kube")
local http = require("moonlb.policy.http")

local outside = {}

local Outside = { __name = "moonlb.policy.outside" }
Outside.__index = Outside

-- Clients kept open, one for each host and port.
local MAX_CLIENTS = 8
local IN_FLIGHT = 8

--- @tparam table allowed  array of `host` (any port) or `host:port`: of --policy-http-allow
-- @treturn Outside  `ask(url, timeout)`: what back ends take as `http` (see `moonlb.policy.http`)
function outside.new(allowed)
  local self = setmetatable({ clients = {}, order = {} }, Outside)
  self.ask = http.new({ allowed = allowed,
    get = function(request, callback) return self:request(request, callback) end }).ask
  return self
end

local function client_of(self, origin)
  local known = self.clients[origin]
  if known then return known end
  local client, message, code = core_kube.client({ server = origin, max_in_flight = IN_FLIGHT,
    user_agent = "moonlb-policy" })
  if not client then return nil, message, code end
  if #self.order >= MAX_CLIENTS then
    local oldest = table.remove(self.order, 1)
    self.clients[oldest]:close()
    self.clients[oldest] = nil
  end
  self.order[#self.order + 1], self.clients[origin] = origin, client
  return client
end

-- Origin and path with query; the fragment stays here (RFC 3986, section 3.5).
local function split(url)
  local origin, rest = url:match("^(https?://[^/?#]+)([^#]*)")
  if rest == "" then return origin, "/" end
  return origin, rest:sub(1, 1) == "?" and "/" .. rest or rest
end

--- Make one request. The address was looked at by `http.is_allowed`.
-- @tparam table request  `{url=, timeout=seconds, max_bytes=}`
-- @tparam function callback  `(err, {status=, body=})`, once, from the loop
-- @treturn table|nil  with `cancel()`
function Outside:request(request, callback)
  local origin, path = split(request.url)
  local client, message, code = client_of(self, origin)
  if not client then
    callback({ message = message, code = code })
    return nil
  end
  return client:request({ path = path, timeout = request.timeout, max_bytes = request.max_bytes, keep_managed = true,
    accept = "application/json, */*;q=0.5" }, callback)
end

--- Close all connections; what is under way ends with ECANCELED.
function Outside:close()
  for _, client in pairs(self.clients) do client:close() end
  self.clients, self.order = {}, {}
end

return outside
