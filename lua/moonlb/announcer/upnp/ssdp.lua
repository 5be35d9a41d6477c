--- Finding the gateway: SSDP (UPnP Device Architecture 1.1 section 1) on UDP sockets of the loop. Only the router of
-- our own route is believed: datagrams from anybody else are not looked at, and a location is on the router itself.
-- @module moonlb.announcer.upnp.ssdp
local async = require("moonlb.async")
local core = require("moonlb.core.upnp")
local log = require("moonlb.core.log")
local uv = require("luv")

local ssdp = {}

-- A gateway answers the question for version 1 of what it is, whatever its own; some know one of these names alone.
local TARGETS = {
  "urn:schemas-upnp-org:device:InternetGatewayDevice:1", "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
  "urn:schemas-upnp-org:service:WANIPConnection:1", "urn:schemas-upnp-org:service:WANPPPConnection:1",
}
-- UDP gets lost: the question goes out again.
local REPEATS, INTERVAL = 3, 0.6
-- More answers than so many different ones are of no use to anybody.
local MOST = 4
local TTL = 2	-- section 1.3.2

local function close(socket)
  if not socket:is_closing() then socket:close() end
end

-- To the group, and to the router itself: switches lose multicast, and a router may answer one of the two alone.
local function ask(socket, router)
  for _, target in ipairs(TARGETS) do
    for _, host in ipairs({ core.SSDP_GROUP, router }) do
      local _, message = socket:try_send(core.encode_search(target, host), host, core.SSDP_PORT)
      if message then log.debug("search not sent", { to = host, error = message }) end
    end
  end
end

-- Read a datagram of the router's; nil for everything else.
local function read(bytes, from, router)
  if not bytes or not from or from.ip ~= router then return nil end
  local message, why = core.decode_ssdp(bytes)
  if not message then log.debug("not understood", { from = router, error = why }) end
  return message
end

local function add_location(found, message, router)
  local location = message.location
  if message.type ~= "answer" or not location or location.host ~= router or #found >= MOST then return false end
  for _, known in ipairs(found) do
    if known.port == location.port and known.path == location.path then return false end
  end
  location.boot_id = message.boot_id
  found[#found + 1] = location
  return true
end

--- Ask the router whether it is a gateway. In a task.
-- @tparam table options  `own` (the node's address on that segment), `router`
-- @treturn table  array of `{host=, port=, path=, boot_id=|nil}`, empty: it did not answer; or nil, message, code
function ssdp.search(options)
  local socket, found, heard = uv.new_udp(), {}, async.signal()
  local ok, message, code = socket:bind(options.own, 0)
  if not ok then
    close(socket)
    return nil, ("SSDP from %s: %s"):format(options.own, message), code
  end
  socket:set_multicast_interface(options.own)
  socket:set_multicast_ttl(TTL)
  socket:recv_start(function(_, bytes, from)
    local answer = read(bytes, from, options.router)
    if answer and add_location(found, answer, options.router) then heard:notify() end
  end)
  for _ = 1, REPEATS do
    ask(socket, options.router)
    if heard:wait(INTERVAL) or found[1] then break end
  end
  close(socket)
  return found
end

--- Hear what the router says by itself: that it is there, and which boot this is, or that it goes.
-- @tparam table options  `own`, `router`, `on_message(message)`
-- @treturn table  with `close()`; or nil, message, code: then a restart is noticed by asking alone
function ssdp.listen(options)
  local socket = uv.new_udp()
  local ok, message, code = socket:bind("0.0.0.0", core.SSDP_PORT, { reuseaddr = true })
  if ok then ok, message, code = socket:set_membership(core.SSDP_GROUP, options.own, "join") end
  if ok then
    ok, message, code = socket:recv_start(function(_, bytes, from)
      local heard = read(bytes, from, options.router)
      if heard and heard.type ~= "answer" then options.on_message(heard) end
    end)
  end
  if ok then return { close = function() close(socket) end } end
  close(socket)
  return nil, ("SSDP on port %d: %s"):format(core.SSDP_PORT, message), code
end

return ssdp
