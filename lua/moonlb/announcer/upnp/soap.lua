--- HTTP with a gateway: its description, and its actions by SOAP (UPnP Device Architecture 1.1 sections 2 and 3). Each
-- request leaves from an address that the caller names (in secure mode a gateway maps a port only to who asks), has one
-- deadline for all of it and a limit for the answer; redirects and proxies are not followed.
-- @module moonlb.announcer.upnp.soap
local async = require("moonlb.async")
local core = require("moonlb.core.upnp")
local core_kube = require("moonlb.core.kube")

local soap = {}

local Soap = { __name = "moonlb.announcer.upnp.soap" }
Soap.__index = Soap

--- Code of an error that the gateway itself answered with; its number is the fourth value then.
soap.REFUSED = "EREFUSED"

local DEADLINE = 5 -- seconds, from the request to the last byte of its answer
local MAX_BYTES = 65536
-- Home routers have small HTTP servers.
local IN_FLIGHT = 4
local MAX_REASON = 80 -- bytes of the gateway's own words that we repeat

--- @tparam[opt] table options  `deadline` (seconds)
function soap.new(options)
  return setmetatable({ deadline = options and options.deadline or DEADLINE, clients = {}, in_flight = 0,
    free = async.signal() }, Soap)
end

-- A link-local address carries its zone: `fe80::1%eth0` (RFC 6874 for the URL).
local function origin_of(place)
  local host = place.host:gsub("%%", "%%25")
  return (host:find(":", 1, true) and "http://[%s]:%d" or "http://%s:%d"):format(host, place.port)
end

-- One client for each pair of source and server.
local function client_for(self, place, source)
  local server = origin_of(place)
  local key = source .. " " .. server
  local known = self.clients[key]
  if known then return known.client end
  local client, message, code = core_kube.client({ server = server, source = source, user_agent = "moonlb UPnP/1.1" })
  if not client then return nil, message, code end
  self.clients[key] = { client = client, source = source }
  return client
end

-- Small bites: at most IN_FLIGHT requests at once, whoever asks.
local function request(self, place, source, options)
  while self.in_flight >= IN_FLIGHT do
    local ok, message, code = self.free:wait()
    if not ok then return nil, message, code end
  end
  if self.is_closed then return nil, "closed", "ECANCELED" end
  local client, message, code = client_for(self, place, source)
  if not client then return nil, message, code end
  options.path, options.timeout, options.max_bytes, options.keep_managed = place.path, self.deadline, MAX_BYTES, true
  self.in_flight = self.in_flight + 1
  local answer
  answer, message, code = async.call(client, "request", options)
  self.in_flight = self.in_flight - 1
  self.free:notify()
  return answer, message, code
end

--- Read the description at `place`. In a task.
-- @tparam table place  `host`, `port`, `path`
-- @tparam string source  the address that asks
-- @treturn table  see core.upnp.decode_description; or nil, message, code
function Soap:describe(place, source)
  local answer, message, code = request(self, place, source, { accept = "text/xml, */*;q=0.5" })
  if not answer then return nil, message, code end
  if answer.status ~= 200 then
    return nil, ("GET %s%s: HTTP status %d"):format(origin_of(place), place.path, answer.status), "EPROTO"
  end
  return core.decode_description(answer.body, place.host, place.port, place.path)
end

-- A gateway's words go into Events and logs: printable, and not for ever.
local function words_of(values)
  local text = (values.errorDescription or ""):gsub("[^\32-\126]", "?")
  return text:sub(1, MAX_REASON)
end

local function refusal(action, values)
  local number = math.tointeger(tonumber(values.errorCode))
  if not number then return nil, action .. ": the gateway answered with an error that has no number", "EPROTO" end
  local meaning = core.error_text(number)
  local said = ("error %d %s"):format(number, words_of(values)):gsub("%s+$", "")
  return nil, ("%s: %s"):format(action, meaning and ("%s (%s)"):format(meaning, said) or said), soap.REFUSED, number
end

--- Call an action. In a task.
-- @tparam table service  `type`, `host`, `port`, `path`
-- @tparam string source  the address that asks
-- @tparam string action
-- @tparam table arguments  array of `{name, value}`
-- @treturn table  name -> text; or nil, message, code, number: REFUSED with the gateway's error number, EPROTO, or as
--   core.kube has them
function Soap:call(service, source, action, arguments)
  local body, message, code = core.encode_action(service.type, action, arguments)
  if not body then return nil, message, code end
  local answer
  answer, message, code = request(self, service, source, { method = "POST", body = body, accept = "text/xml",
    content_type = "text/xml; charset=\"utf-8\"", header = ("SOAPAction: \"%s#%s\""):format(service.type, action) })
  if not answer then return nil, message, code end
  local values
  values, message, code = core.decode_answer(answer.body)
  if not values then return nil, message, code end
  if answer.status == 200 and answer.body:find(action .. "Response", 1, true) then return values end
  if values.errorCode then return refusal(action, values) end
  return nil, ("%s: HTTP status %d, and no answer to it"):format(action, answer.status), "EPROTO"
end

--- Nothing is asked from `source` any more: its connections are closed, what is under way ends.
function Soap:forget(source)
  for key, known in pairs(self.clients) do
    if known.source == source then
      self.clients[key] = nil
      known.client:close()
    end
  end
end

--- Everything is over.
function Soap:close()
  self.is_closed = true
  for key, known in pairs(self.clients) do
    self.clients[key] = nil
    known.client:close()
  end
  self.free:notify()
end

return soap
