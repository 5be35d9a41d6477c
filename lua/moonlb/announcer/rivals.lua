--- Other programs that do this one's job: another announcer that writes `kube-vip.io/vipHost`, a second moonlb on the
-- same node. They are noticed and named; nobody is fought with.
-- @module moonlb.announcer.rivals
local status = require("moonlb.announcer.status")
local uv = require("luv")

local rivals = {}

local Rivals = { __name = "moonlb.announcer.rivals" }
Rivals.__index = Rivals

--- So many overwrites, each within WINDOW seconds of the one before, are a fight: HALT seconds nothing is put right.
rivals.LIMIT, rivals.WINDOW, rivals.HALT = 3, 60, 600

local MESSAGE = "annotation " .. status.HOST .. " says %s, and no moonlb wrote that: another announcer (kube-vip?) "
  .. "works on the same Services. Turn its part for Services off (svc_enable: \"false\"), or tell the two apart by "
  .. "loadBalancerClass; two that answer for one address take its connections from each other"

--- @tparam table options  `node` (this one's name), `now()` seconds of a clock that never jumps, `tell(key, message)`
-- @treturn Rivals  `writes`: how often somebody else wrote what this node writes
function rivals.new(options)
  return setmetatable({ node = options.node, now = options.now, tell = options.tell, rows = {}, writes = 0 }, Rivals)
end

-- Who is named as host although this node's claim stands beside: moonlb writes both at once, so another wrote the name.
local function foreign_host(self, service)
  local annotations = service and service.metadata.annotations
  if type(annotations) ~= "table" then return nil end
  local host, claim = annotations[status.HOST], annotations[status.CLAIM]
  if type(host) ~= "string" or host == "" or type(claim) ~= "string" then return nil end
  local owner = claim:match("^%d+ (%S+)$")
  return owner == self.node and host ~= owner and host or nil
end

--- A Service as the API shows it now; nil: it is gone.
-- @tparam string key
-- @tparam table|nil service
function Rivals:saw(key, service)
  if not service then
    self.rows[key] = nil
    return
  end
  local host, version = foreign_host(self, service), service.metadata.resourceVersion
  local row, now = self.rows[key], self.now()
  if not host or (row and row.version == version) then return end
  if not row or now - row.at > rivals.WINDOW then row = { count = 0 } end
  row.count, row.at, row.version = row.count + 1, now, version
  if row.count >= rivals.LIMIT then row.halted_until = now + rivals.HALT end
  self.rows[key], self.writes = row, self.writes + 1
  self.tell(key, MESSAGE:format(host))
end

--- Is the annotation to be left as it is, since writing it again would go on for ever?
function Rivals:is_fought_over(key)
  local row = self.rows[key]
  return row ~= nil and row.halted_until ~= nil and self.now() < row.halted_until
end

--- Be the only announcer of this network namespace, until the handle is closed or the process ends. A UDP port of
-- loopback stands for that, the one whose number heartbeats carry: nothing is sent or heard on it.
-- @tparam integer port
-- @treturn userdata  with `close()`; or nil, message, `"EADDRINUSE"`
function rivals.be_the_only_one(port)
  local socket = uv.new_udp()
  local ok, message, code = socket:bind("127.0.0.1", port)
  if ok or code ~= "EADDRINUSE" then return socket end	-- without loopback nobody else has it either
  socket:close()
  return nil, ("another moonlb announces from this node (UDP 127.0.0.1:%d is held): are there two DaemonSets? This one "
    .. "waits (%s)"):format(port, message), code
end

return rivals
