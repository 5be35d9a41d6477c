--- A DHCPv4 client and the server that a test plays: frames go by hand, the clock is a number.
-- @module spec.support.dhcp
local core = require("moonlb.core.dhcp")

local dhcp = {
  MAC = "02:00:5e:00:53:01", CLIENT_ID = "\255\0\0\0\1\0\4" .. ("u"):rep(16),
  SERVER = "10.77.0.1", SERVER_MAC = "02:00:5e:00:53:fe", ADDRESS = "10.77.0.50",
}

local Exchange = {}
Exchange.__index = Exchange

--- A client at second 1000, not started.
-- @tparam[opt] table options  changes of the client's
function dhcp.new(options)
  local all = { mac = dhcp.MAC, client_id = dhcp.CLIENT_ID, seed = 1 }
  for name, value in pairs(options or {}) do all[name] = value end
  return setmetatable({ now = 1000, client = core.client(all), actions = {}, notes = {} }, Exchange)
end

local function decode(frame)
  local sent = assert(core.unwrap(frame))
  sent.message = assert(core.decode(sent.payload))
  return sent
end

--- Call a method of the client at the present time; `self.actions` is what it wants, `self.last` the last frame sent.
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

--- The server's answer to the last message as a frame. `changes` are of the message, false takes a field out;
-- `frame_changes` are of the datagram.
function Exchange:answer(kind, changes, frame_changes)
  local message = { type = kind, op = 2, xid = self.last.message.xid, chaddr = dhcp.MAC, client_id = dhcp.CLIENT_ID,
    server = dhcp.SERVER, yiaddr = kind ~= "nak" and dhcp.ADDRESS or nil, mask = "255.255.255.0",
    router = "10.77.0.254", seconds = kind ~= "nak" and 3600 or nil }
  for name, value in pairs(changes or {}) do message[name] = value or nil end
  local fields = { source_mac = dhcp.SERVER_MAC, destination_mac = dhcp.MAC, source = dhcp.SERVER,
    destination = "255.255.255.255", payload = core.encode(message) }
  for name, value in pairs(frame_changes or {}) do fields[name] = value end
  return core.wrap(fields)
end

--- The server answers; see `answer`.
function Exchange:receive(kind, changes, frame_changes)
  return self:call("receive", self:answer(kind, changes, frame_changes))
end

--- Let the clock go to the deadline and tick.
function Exchange:wait()
  self.now = assert(self.client:deadline(), "no deadline")
  return self:call("tick")
end

--- Let the clock go to a time, ticking at each deadline on the way; all actions on the way as one list.
function Exchange:wait_until(time)
  local all = {}
  while self.client:deadline() and self.client:deadline() <= time do
    for _, action in ipairs(self:wait()) do
      action.at = self.now
      all[#all + 1] = action
    end
  end
  self.now = time
  return all
end

--- DISCOVER to bound; `changes` are of OFFER and ACK.
function Exchange:bind(changes)
  self:call("start")
  self:receive("offer", changes)
  self:receive("ack", changes)
  self:call("checked", true)
  assert(self.client:state() == "bound", self.client:state())
  return self
end

return dhcp
