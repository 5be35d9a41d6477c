--- A DHCPv6 client and the server that a test plays; see spec.support.dhcp, whose sister it is.
-- @module spec.support.dhcp6
local core = require("moonlb.core.dhcp6")

local dhcp6 = {
  MAC = "02:00:5e:00:53:01", SOURCE = "fe80::5eff:fe00:5301", DUID = "\0\4" .. ("u"):rep(16), IAID = 7,
  SERVER = "\0\3\0\1\2\0\94\0\83\254", OTHER_SERVER = "\0\3\0\1\2\0\94\0\83\253", SERVER_MAC = "02:00:5e:00:53:fe",
  ADDRESS = "fd77::50",
}

local Exchange = {}
Exchange.__index = Exchange

--- A client at second 1000, not started.
function dhcp6.new(options)
  local all = { mac = dhcp6.MAC, duid = dhcp6.DUID, iaid = dhcp6.IAID, seed = 1 }
  for name, value in pairs(options or {}) do all[name] = value end
  return setmetatable({ now = 1000, client = core.client(all), actions = {}, notes = {} }, Exchange)
end

local function decode(frame)
  local sent = assert(core.unwrap(frame))
  sent.message = assert(core.decode(sent.payload))
  return sent
end

--- Call a method of the client at the present time.
function Exchange:call(method, ...)
  self.actions = self.client[method](self.client, self.now, ...)
  for _, action in ipairs(self.actions) do
    if action.type == "send" then self.last = decode(action.frame) end
    if action.type == "note" then self.notes[#self.notes + 1] = action.message end
  end
  return self.actions
end

--- The first action of a type in what the last call wanted, or nil.
function Exchange:action(wanted)
  for _, action in ipairs(self.actions) do
    if action.type == wanted then return action end
  end
end

--- What the last call wanted, in words: "send request, bound".
function Exchange:summary()
  local words = {}
  for i, action in ipairs(self.actions) do
    words[i] = action.type
    if action.frame then words[i] = "send " .. decode(action.frame).message.type end
    if action.reason then words[i] = "lost " .. action.reason end
  end
  return table.concat(words, ", ")
end

--- The server's answer as a frame. `changes` are of the message, `ia` of its IA (false: no IA), `frame_changes` of the
-- datagram; false takes a field out.
function Exchange:answer(kind, changes, ia, frame_changes)
  local association = { iaid = dhcp6.IAID, t1 = 900, t2 = 1440,
    addresses = { { address = dhcp6.ADDRESS, preferred = 1800, valid = 3600 } } }
  for name, value in pairs(ia or {}) do association[name] = value or nil end
  local message = { type = kind, xid = self.last.message.xid, client = dhcp6.DUID, server = dhcp6.SERVER,
    ia = ia ~= false and association or nil }
  for name, value in pairs(changes or {}) do message[name] = value or nil end
  local fields = { source_mac = dhcp6.SERVER_MAC, destination_mac = dhcp6.MAC, source = "fe80::1",
    destination = dhcp6.SOURCE, payload = core.encode(message) }
  for name, value in pairs(frame_changes or {}) do fields[name] = value end
  return core.wrap(fields)
end

--- The server answers; see `answer`.
function Exchange:receive(...)
  return self:call("receive", self:answer(...))
end

--- Let the clock go to the deadline and tick.
function Exchange:wait()
  self.now = assert(self.client:deadline(), "no deadline")
  return self:call("tick")
end

--- Let the clock go to a time, ticking at each deadline on the way.
-- @treturn table  array of `{state, seconds since the start, summary}`, one for each tick
function Exchange:wait_until(time)
  local start, list = self.now, {}
  while self.client:deadline() and self.client:deadline() <= time do
    self:wait()
    list[#list + 1] = { self.client:state(), self.now - start, self:summary() }
  end
  self.now = time
  return list
end

--- SOLICIT to bound; `ia` is of ADVERTISE and REPLY.
function Exchange:bind(ia)
  self:call("start")
  self:wait()
  self:receive("advertise", {}, ia)
  self:wait()
  self:receive("reply", {}, ia)
  self:call("checked", true)
  assert(self.client:state() == "bound", self.client:state())
  return self
end

return dhcp6
