--- Several nodes with moonlb, Services on them, and a client that asks their addresses all the time.
local async = require("moonlb.async")
local lab = require("spec.support.lab")
local lan = require("moonlb.sandbox.lan")
local loop = require("spec.support.loop")
local uv = require("luv")

local failover = {}

local PORT = 7777

local Play = {}
Play.__index = Play

--- Inside lab.test with `count` nodes: echoes on all nodes, moonlb on those of `names` (all).
function failover.play(it, count, names, arguments)
  local self = setmetatable({ lab = it, running = {}, count = count, marks = 0 }, Play)
  for i = 1, count do
    local name = "node" .. i
    assert(it.kube:create("/api/v1/nodes", { metadata = { name = name } }))
    local echo = it:start(name, "/usr/bin/python3", uv.cwd() .. "/spec/support/udp_echo.py", name, tostring(PORT))
    assert(echo:wait_for(function() return echo:output():find("ready") end, 10), echo:output())
  end
  for _, name in ipairs(names or { "node1", "node2", "node3" }) do
    if tonumber(name:match("%d+")) <= count then self:run(name, arguments) end
  end
  return self
end

--- Start moonlb on a node.
function Play:run(name, arguments)
  local list = { "--probe", "off", "--port", "0" }
  table.move(arguments or {}, 1, #(arguments or {}), #list + 1, list)
  self.running[name] = self.lab:moonlb(name, list)
  return self.running[name]
end

--- Nodes that start at once may claim at once, and settle it within a tick: the owner of a Service after that.
-- @treturn string
function Play:settled_owner(service)
  for name in pairs(self.running) do self:until_said(name, "heartbeat key") end
  async.sleep(1)
  return self:until_owner(service)
end

--- The node of the highest claim on a Service, by what the API remembers; nil for none.
function Play:owner(service)
  local object = self.lab:get(service)
  local text = object and object.metadata.annotations and object.metadata.annotations["moonlb.io/claim"]
  return text and text:match(" (%S+)$"), text
end

--- Wait until the API remembers an owner that `is_wanted(name)`. @treturn string
function Play:until_owner(service, is_wanted)
  local name
  loop.until_true(function()
    name = self:owner(service)
    return name and (not is_wanted or is_wanted(name))
  end, 20, "owner of " .. service)
  return name
end

-- MAC of eth0 -> name of the node.
local function names_of_macs(self)
  local names = {}
  for i = 1, self.count do
    local name = "node" .. i
    local mac = self.lab:on(name, "ip", "-o", "link", "show", "eth0").output:match("link/ether (%S+)")
    names[assert(mac, name)] = name
  end
  return names
end

--- Who answers ARP for the address at the client (or another host), as names of nodes, sorted.
function Play:answering(ip, from)
  self.macs = self.macs or names_of_macs(self)
  local result = self.lab:on(from or "client", "arping", "-c", "2", "-w", "2", "-b", "-I", "eth0", ip)
  local names, seen = {}, {}
  for mac in result.output:lower():gmatch("%[(%x%x:%x%x:%x%x:%x%x:%x%x:%x%x)%]") do
    local name = self.macs[mac] or mac
    if not seen[name] then names[#names + 1] = name end
    seen[name] = true
  end
  table.sort(names)
  return names
end

--- Wait until moonlb on the node has said a text (since the start).
function Play:until_said(name, text)
  loop.until_true(function() return (self.lab.output[name] or ""):find(text, 1, true) end, 15, name .. ": " .. text)
end

--- Set an annotation of a Node.
function Play:annotate_node(name, key, value)
  assert(self.lab.kube:merge_patch("/api/v1/nodes/" .. name, { metadata = { annotations = { [key] = value } } }))
end

--- Send a signal to moonlb of a node.
function Play:signal(name, signal)
  assert(lan.kill(self.running[name], signal), name .. " does not run moonlb")
end

--- Do something to a node's port of the switch, as `bridge link set dev p-NODE ...` or `ip link set p-NODE ...`.
function Play:port(name, program, ...)
  local device = "p-" .. name
  local argv = program == "bridge" and { "bridge", "link", "set", "dev", device, ... }
    or { "ip", "link", "set", device, ... }
  local result = self.lab:on("switch", table.unpack(argv))
  assert(result.code == 0, result.output)
end

local Client = {}
Client.__index = Client

--- Begin to ask. `rate` requests a second, in all.
function Play:client(rate, ...)
  return self:ask(rate, tostring(PORT), ...)
end

--- The same by a client that forgets, before each request, who answered ARP for the last one.
function Play:fresh_client(rate, ...)
  return self:ask(rate, PORT .. "/eth0", ...)
end

function Play:ask(rate, port, ...)
  local started = self.lab:start("client", "/usr/bin/python3", uv.cwd() .. "/spec/support/udp_client.py",
    tostring(rate), port, ...)
  local client = setmetatable({ process = started, addresses = { ... } }, Client)
  client:until_from(nil, { ... })
  return client
end

--- Who answers for an address now, by the client's last word.
function Client:from(ip)
  local last
  for name in self.process:output():gmatch("address=" .. ip:gsub("%.", "%%.") .. " from=(%S+)") do last = name end
  return last
end

--- Wait until all of the addresses are answered by another than `former` (nil: by anybody).
function Client:until_from(former, addresses)
  loop.until_true(function()
    for _, ip in ipairs(addresses or self.addresses) do
      local name = self:from(ip)
      if not name or name == former then return false end
    end
    return true
  end, 20, "an answer from another than " .. tostring(former))
end

--- End, and count. @treturn table address -> `{sent=, lost=, gap_ms=}`
function Client:stop()
  self.process:write(nil)
  assert(self.process:wait(20) == 0, self.process:output())
  local result = {}
  for address, sent, lost, gap in self.process:output():gmatch("address=(%S+) sent=(%d+) lost=(%d+) gap_ms=(%S+)") do
    result[address] = { sent = tonumber(sent), lost = tonumber(lost), gap_ms = tonumber(gap) }
  end
  return result
end

failover.test = lab.test

return failover
