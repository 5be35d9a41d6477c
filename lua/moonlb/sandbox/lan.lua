--- A LAN to try and to test on: network namespaces on one bridge, made with ip(8).
--
--     switch (bridge alone) ── router .1, node1 .2, node2 .3, ..., client .250 of 10.77.0.0/24 and fd77::/64
--
-- Nothing of it is visible outside: one holder process (unshare(1)) has a mount, a PID and, without root, a user
-- namespace of its own, in which the network namespaces have their names. Whatever ends this process closes the
-- holder's standard input; the holder ends, the kernel ends every process of its PID namespace, and with them the
-- LAN is gone. There is nothing to clean up, also after kill -9.
-- @module moonlb.sandbox.lan
local process = require("moonlb.sandbox.process")
local uv = require("luv")

local lan = {}

local Lan = { __name = "moonlb.sandbox.lan" }
Lan.__index = Lan

--- The LAN's prefixes, and what the sandbox gives out of them.
lan.IPV4, lan.IPV6 = "10.77.0.%d", "fd77::%x"

local CLIENT = 250

-- name -> last part of its addresses, in the order in which they are made.
local function hosts_of(options)
  local hosts = { { name = "router", id = 1 } }
  for i = 1, options.nodes do hosts[#hosts + 1] = { name = "node" .. i, id = i + 1 } end
  hosts[#hosts + 1] = { name = "client", id = CLIENT }
  return hosts
end

local function host_script(host)
  local name, id = host.name, host.id
  local lines = {
    ("link add eth0 netns %s type veth peer name p-%s netns switch"):format(name, name),
    ("-n switch link set p-%s addrgenmode none master br0 up"):format(name),
    ("-n %s link set lo up"):format(name),
    ("-n %s link set eth0 up"):format(name),
    ("-n %s address add %s/24 dev eth0"):format(name, lan.IPV4:format(id)),
    ("-n %s address add %s/64 dev eth0 nodad"):format(name, lan.IPV6:format(id)),
  }
  if id ~= 1 then
    lines[#lines + 1] = ("-n %s route add default via %s"):format(name, lan.IPV4:format(1))
    lines[#lines + 1] = ("-n %s -6 route add default via %s"):format(name, lan.IPV6:format(1))
  end
  return lines
end

-- The holder's shell script. /run is its own, so that names and state files are.
local function script(hosts)
  local lines = { "set -e", "mount -t tmpfs tmpfs /run", "mkdir /run/netns" }
  local function ip(arguments) lines[#lines + 1] = "ip " .. arguments end
  ip("netns add switch")
  for _, host in ipairs(hosts) do ip("netns add " .. host.name) end
  ip("-n switch link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0")
  ip("-n switch link set br0 addrgenmode none up")
  for _, host in ipairs(hosts) do
    for _, arguments in ipairs(host_script(host)) do ip(arguments) end
  end
  lines[#lines + 1] = "echo the LAN is up"
  lines[#lines + 1] = "read -r line || true"	-- until our standard input ends
  return table.concat(lines, "\n")
end

local function holder_command(text)
  local argv = { "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc" }
  if uv.getuid() ~= 0 then
    argv[#argv + 1] = "--user"
    argv[#argv + 1] = "--map-root-user"
  end
  return table.move({ "--net", "sh", "-c", text }, 1, 4, #argv + 1, argv)
end

--- Make a LAN. Inside a coroutine.
-- @tparam table options  `nodes` (how many, default 2), `on_exit()`: it ended by itself
-- @treturn Lan  with `hosts` (name -> `{name=, ipv4=, ipv6=}`); or nil, message, code
function lan.up(options)
  local hosts = hosts_of({ nodes = options.nodes or 2 })
  local self = setmetatable({ hosts = {}, spawned = {} }, Lan)
  for _, host in ipairs(hosts) do
    self.hosts[host.name] = { name = host.name, ipv4 = lan.IPV4:format(host.id), ipv6 = lan.IPV6:format(host.id) }
  end
  local message, code
  self.holder, message, code = process.start(holder_command(script(hosts)), { detached = true,
    on_exit = function() if options.on_exit and not self.is_down then options.on_exit() end end })
  if not self.holder then return nil, message, code end
  local is_up = self.holder:wait_for(function() return self.holder:output():find("the LAN is up", 1, true) end, 20)
  if is_up then return self end
  self:down()
  return nil, ("the LAN was not made: %s(network namespaces need root, or a kernel that allows unprivileged user "
    .. "namespaces)"):format(self.holder:output():gsub("\n", "; ")), "EPERM"
end

--- The command line that runs `argv` on a host of the LAN ("switch" too), for people and for Lan:start.
function Lan:command(host, argv)
  local proc = "/proc/" .. self.holder.pid
  local command = { "nsenter", "--mount=" .. proc .. "/ns/mnt", "--pid=" .. proc .. "/ns/pid_for_children",
    "--net=" .. proc .. "/root/run/netns/" .. host }
  if uv.getuid() ~= 0 then
    command[#command + 1] = "--user=" .. proc .. "/ns/user"
    command[#command + 1] = "--preserve-credentials"
  end
  command[#command + 1] = "--"
  return table.move(argv, 1, #argv, #command + 1, command)
end

--- Start a program on a host; as process.start.
function Lan:start(host, argv, options)
  return process.start(self:command(host, argv), options)
end

--- Run a program on a host to its end; as process.run.
function Lan:run(host, argv, options)
  return process.run(self:command(host, argv), options)
end

-- nsenter(1) forks to enter the PID namespace: the program is its child (proc(5), CONFIG_PROC_CHILDREN).
local function child_of(pid)
  local file = io.open(("/proc/%d/task/%d/children"):format(pid, pid), "r")
  local text = file and file:read("a") or ""
  if file then file:close() end
  return math.tointeger(tonumber(text:match("%d+")))
end

--- Send a signal to a program that Lan:start made, not to the nsenter that waits for it.
-- @treturn boolean  false when it has ended or not begun
function lan.kill(started, signal)
  local pid = started:is_running() and child_of(started.pid)
  if not pid then return false end
  return uv.kill(pid, signal) == 0
end

--- End the LAN and every program on it.
function Lan:down()
  self.is_down = true
  self.holder:write(nil)
end

return lan
