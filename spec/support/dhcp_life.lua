--- A life of a lease (moonlb.announcer.dhcp.life) whose node, clock and client are played.
-- @module spec.support.dhcp_life
local life = require("moonlb.announcer.dhcp.life")

local dhcp_life = {}

local Played = {}
Played.__index = Played

-- What `method` of the client gives next time; each call is written down.
local function new_client(self)
  local client = { said = {} }
  for _, method in ipairs({ "start", "receive", "tick", "checked", "release", "link_up" }) do
    client[method] = function(_, _, value)
      self:note(method .. (value ~= nil and " " .. tostring(value) or ""))
      local actions = self.script[method] or {}
      self.script[method] = nil
      return actions
    end
  end
  function client.deadline() return self.deadline end
  function client.state() return "bound" end
  function client.stats() return { sent = {}, received = {}, bad = 0 } end
  return client
end

local function new_netlink(self)
  local netlink = { links = {} }
  function netlink.link(_, name)
    for index, link in pairs(netlink.links) do
      if link.name == name or index == name then return link end
    end
    return nil
  end
  function netlink.macvlan_add(_, new)
    if self.refused then return nil, "cannot", self.refused end
    local index = 10
    while netlink.links[index] do index = index + 1 end
    netlink.links[index] = { index = index, name = new.name, kind = "macvlan", mac = new.mac, alias = new.alias,
      parent = new.parent, is_up = true, is_running = true }
    self:note("macvlan " .. new.name)
    return index
  end
  function netlink.link_delete(_, index)
    netlink.links[index] = nil
    self:note("delete")
    return true
  end
  function netlink.link_set() return true end
  function netlink.set_ipv4_conf() return true end
  return netlink
end

local function new_vip(self, ip)
  local vip = { address = ip, state = "wanted" }
  function vip.is_answering() return vip.state == "held" end
  function vip.serve() self:note("serve " .. ip) end
  function vip.release(_, linger)
    vip.state = "gone"
    self:note(("drop %s %g"):format(ip, linger))
  end
  return vip
end

local function new_io(self)
  local netlink = new_netlink(self)
  self.netlink = netlink
  local wire = { random = function() return 0 end, is_ours = function() return false end,
    watch = function(_, _, on) self:note("watch " .. tostring(on)) return true end,
    probe = function(ip) self:note("probe " .. ip) return true end }
  local io = { family = 4, any = "0.0.0.0", source = function() return nil end,
    now = function() return self.now end, wall = function() return self.now + 1e9 end,
    seed = function() return 1 end, netlink = netlink, wire = wire, hold = function() return nil end,
    host = { learn = function(_, index) return netlink.links[index] end, clear = function() end,
      view = { links = netlink.links } } }
  function io.after(seconds, fn)
    local timer = { at = self.now + seconds, fn = fn }
    self.timers[#self.timers + 1] = timer
    function timer.stop() timer.is_stopped = true end
    return timer
  end
  wire.after = io.after
  function io.open()
    self:note("socket")
    return { send = function(_, frame) self:note("send " .. frame) return true end,
      close = function() self:note("unsocket") end }
  end
  function io.client(options)
    self.options = options
    return new_client(self)
  end
  return io
end

local function new_owner(self)
  return { probe = "fast", service = function() return self.service end, identity = function() return "cluster" end,
    owner_of = function() return self.whose end, refuse = function() end,
    new_vip = function(ip, arp_rate)
      self.arp_rate = arp_rate
      self.vip = new_vip(self, ip)
      return self.vip
    end,
    tell = function(_, reason, message) self.events[#self.events + 1] = reason .. " " .. message end,
    changed = function() self:note("changed") end, count = function() end, retire = function() end }
end

--- A life of Service demo/web at second 1000, doing nothing yet.
-- @tparam[opt] table annotations
-- @tparam[opt] string shown  the address in status
function dhcp_life.new(annotations, shown)
  local self = setmetatable({ now = 1000, timers = {}, said = {}, events = {}, script = {},
    service = { metadata = { namespace = "demo", name = "web", annotations = annotations or {} },
      status = { loadBalancer = { ingress = { { ip = shown } } } } } }, Played)
  self.life = life.new(new_io(self), new_owner(self), "demo/web")
  return self
end

function Played:note(text) self.said[#self.said + 1] = text end

--- What was done since the last call, joined by ", ".
function Played:done()
  local text = table.concat(self.said, ", ")
  self.said = {}
  return text
end

--- The client wants these actions when `method` is called.
function Played:will(method, ...) self.script[method] = { ... } end

--- The `bound` action of a lease of an hour.
function Played:bound(ip, is_new, is_changed)
  return { type = "bound", is_new = is_new ~= false, is_changed = is_changed or false,
    lease = { address = ip, server = "10.0.0.1", at = self.now, seconds = 3600, t1 = 1800, t2 = 3150 } }
end

--- Serve on eth0, with a client that is bound at once.
function Played:serve(ip)
  if ip then self:will("start", self:bound(ip)) end
  self.life:serve({ index = 2, name = "eth0" })
  if ip then self.vip.state = "held" end
end

--- Let time pass; timers fire in order.
function Played:pass(seconds)
  local till = self.now + seconds
  while true do
    local best
    for i, timer in ipairs(self.timers) do
      if not timer.is_stopped and timer.at <= till and (not best or timer.at < self.timers[best].at) then best = i end
    end
    if not best then break end
    local timer = table.remove(self.timers, best)
    self.now = math.max(self.now, timer.at)
    timer.fn()
  end
  self.now = till
end

return dhcp_life
