--- The announcer on a real LAN: this process is the node (eth0, in the network that spec/lab/enter made), beside it on
-- one bridge the namespaces `client` and `stranger`. Services come from a table; what is written goes back into it.
--
--     switch (br0) ── eth0 here 10.77.0.2, fd77::2 ── client .4 ── stranger .5 (no addresses of its own)
local announcer = require("moonlb.announcer")
local cjson = require("cjson")
local loop = require("spec.support.loop")
local process = require("moonlb.sandbox.process")
require("spec.support.inside_lab")

local announcing = {}

local SCRIPT = [[
set -e
for name in switch client stranger; do ip netns add $name; ip -n $name link set lo up; done
ip -n switch link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
ip -n switch link set br0 addrgenmode none up
port() { ip -n switch link set $1 addrgenmode none master br0 up; }
ip link add eth0 type veth peer name p-node netns switch; port p-node
for name in client stranger; do
  ip -n $name link add eth0 type veth peer name p-$name netns switch; port p-$name
  ip -n $name link set eth0 up
done
ip link set eth0 up
ip address add 10.77.0.2/24 dev eth0
ip address add fd77::2/64 dev eth0 nodad
ip route add default via 10.77.0.1
ip -n client address add 10.77.0.4/24 dev eth0
ip -n client address add fd77::4/64 dev eth0 nodad
]]

local Lan = {}
Lan.__index = Lan

--- Make the LAN. Inside loop.test; once a process.
function announcing.lan()
  local made = assert(process.run({ "sh", "-c", SCRIPT }))
  assert(made.code == 0, made.output)
  return setmetatable({}, Lan)
end

--- Run a program on `host` (nil: here) to its end, the loop going on meanwhile.
function Lan.run(_, host, ...)
  local argv = { ... }
  if host then argv = { "ip", "netns", "exec", host, ... } end
  return assert(process.run(argv))
end

--- The MACs that answer ARP (or NS) for `ip` from the client: an array, each once, as arping and ndisc6 print them.
function Lan:who_has(ip)
  local result
  if ip:find(":", 1, true) then
    result = self:run("client", "ndisc6", "-m", "-w", "300", "-r", "1", ip, "eth0")
  else
    result = self:run("client", "arping", "-c", "1", "-w", "1", "-b", "-I", "eth0", ip)
  end
  local macs, seen = {}, {}
  for mac in result.output:gmatch("%x%x:%x%x:%x%x:%x%x:%x%x:%x%x") do
    mac = mac:lower()
    if not seen[mac] then macs[#macs + 1] = mac end
    seen[mac] = true
  end
  return macs
end

--- The MAC of eth0 on `host` (nil: here).
function Lan:mac(host)
  local argv = host and { "ip", "-n", host, "-j", "link", "show", "eth0" } or { "ip", "-j", "link", "show", "eth0" }
  return cjson.decode(self:run(nil, table.unpack(argv)).output)[1].address
end

local Capture = {}
Capture.__index = Capture

--- tcpdump at the client, from when it listens on.
function Lan.capture(_, filter)
  local path = os.tmpname()
  local dump = assert(process.start({ "ip", "netns", "exec", "client", "tcpdump", "--immediate-mode", "-s", "128",
    "-U", "-n", "-i", "eth0", "-w", path, filter }))
  assert(dump:wait_for(function() return dump:output():find("listening on") end, 10), dump:output())
  return setmetatable({ dump = dump, path = path }, Capture)
end

--- Stop it; the file goes too.
function Capture:stop()
  if self.dump:is_running() then
    self.dump:kill("sigint")
    self.dump:wait(5)
  end
  os.remove(self.path)
end

--- read(), again and again until there are `count` lines; the capture goes on meanwhile.
function Capture:read_until(count, ...)
  local lines
  local arguments = { ... }
  loop.until_true(function()
    lines = self:read(table.unpack(arguments))
    return #lines >= count
  end, 20, count .. " frames")
  return lines
end

--- What tshark makes of the frames so far that match `display`: the fields of each, joined by spaces, in order.
function Capture:read(display, ...)
  local argv = { "tshark", "-r", self.path, "-Y", display, "-T", "fields", "-E", "separator=/s" }
  for _, field in ipairs({ ... }) do
    argv[#argv + 1] = "-e"
    argv[#argv + 1] = field
  end
  local result = assert(process.run(argv))
  -- A frame that is being written ends the file short: exit 2, the frames before it are printed.
  assert(result.code == 0 or result.output:find("cut short", 1, true), result.output)
  local lines = {}
  for line in result.output:gmatch("[^\n]+") do
    if not line:find("^Running as user") and not line:find("^tshark:") then lines[#lines + 1] = line end
  end
  return lines
end

--- Is `ip` on lo here?
function Lan:is_on_lo(ip)
  return self:run(nil, "ip", "-o", "address", "show", "dev", "lo").output:find(" " .. ip .. "/", 1, true) ~= nil
end

--- An announcer on this LAN, started.
function announcing.start(cluster, settings)
  settings = settings or {}
  settings.state_dir = settings.state_dir or os.getenv("TMPDIR") or "/tmp"
  local it = assert(announcer.new({ client = cluster.client, services = cluster.services, node = "node1",
    events = cluster.recorder, settings = settings }))
  it:start()
  return it
end

--- Wait until the VIP is in that state.
function announcing.until_state(it, ip, state)
  loop.until_true(function()
    local found = it.vips[ip]
    return (found and found.state or "gone") == state
  end, 10, ip .. " " .. state)
end

return announcing
