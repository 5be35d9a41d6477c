--- DHCP servers that are not ours, in namespaces of a lab: Kea, dnsmasq, ISC dhcpd, udhcpd; for DHCPv6 `kea6` and
-- `dnsmasq6`.
-- @module spec.support.dhcp_servers
local cjson = require("cjson")
local loop = require("spec.support.loop")
local process = require("moonlb.sandbox.process")
local temporary = require("spec.support.temporary")
require("spec.support.inside_lab")

local servers = { kinds = { "kea", "dnsmasq", "dhcpd", "udhcpd" } }

local HOOK = "/usr/lib/x86_64-linux-gnu/kea/hooks/libdhcp_lease_cmds.so"

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return (":%02x"):format(c:byte()) end):sub(2))
end

local kinds = {}

function kinds.kea(options, folder)
  local reservation = options.reserve
  write(folder .. "/conf", cjson.encode({ Dhcp4 = {
    ["interfaces-config"] = { interfaces = { "eth0" }, ["dhcp-socket-type"] = options.socket_type },
    ["lease-database"] = { type = "memfile", persist = true, name = folder .. "/leases", ["lfc-interval"] = 0 },
    ["valid-lifetime"] = options.lease, ["min-valid-lifetime"] = 2, ["renew-timer"] = options.t1,
    ["rebind-timer"] = options.t2, authoritative = true, ["decline-probation-period"] = 60,
    ["control-socket"] = { ["socket-type"] = "unix", ["socket-name"] = folder .. "/control" },
    ["hooks-libraries"] = { { library = HOOK } },
    subnet4 = { { id = 1, subnet = options.network .. "/" .. options.prefix,
      pools = { { pool = options.first .. "-" .. options.last } },
      ["option-data"] = { { name = "routers", data = options.router } },
      reservations = reservation and { { ["client-id"] = hex(reservation.client_id),
        ["ip-address"] = reservation.address } } or nil } },
    loggers = { { name = "kea-dhcp4", output_options = { { output = "stdout" } }, severity = "INFO" } },
  } }))
  return { "kea-dhcp4", "-c", folder .. "/conf" }, "DHCP4_STARTED",
    { "KEA_PIDFILE_DIR=" .. folder, "KEA_LOCKFILE_DIR=" .. folder }
end

-- DHCPv6: `reserve` has a `duid`.
function kinds.kea6(options, folder)
  local reservation = options.reserve
  write(folder .. "/conf", cjson.encode({ Dhcp6 = {
    ["data-directory"] = folder,
    ["interfaces-config"] = { interfaces = { "eth0" } },
    ["lease-database"] = { type = "memfile", persist = true, name = folder .. "/leases", ["lfc-interval"] = 0 },
    ["valid-lifetime"] = options.lease, ["preferred-lifetime"] = options.lease * 3 // 4, ["renew-timer"] = options.t1,
    ["rebind-timer"] = options.t2, ["decline-probation-period"] = 60,
    ["control-socket"] = { ["socket-type"] = "unix", ["socket-name"] = folder .. "/control" },
    ["hooks-libraries"] = { { library = HOOK } },
    subnet6 = { { id = 1, subnet = "fd77::/64", interface = "eth0", pools = { { pool = options.pool6 } },
      reservations = reservation and { { duid = hex(reservation.duid), ["ip-addresses"] = { reservation.address } } }
        or nil } },
    loggers = { { name = "kea-dhcp6", output_options = { { output = "stdout" } }, severity = "INFO" } },
  } }))
  return { "kea-dhcp6", "-c", folder .. "/conf" }, "DHCP6_STARTED",
    { "KEA_PIDFILE_DIR=" .. folder, "KEA_LOCKFILE_DIR=" .. folder }
end

function kinds.dnsmasq(options, folder)
  local reservation = options.reserve
  write(folder .. "/conf", table.concat({ "port=0", "interface=eth0", "bind-interfaces", "except-interface=lo",
    ("dhcp-range=%s,%s,%s,%d"):format(options.first, options.last, options.mask, options.lease),
    "dhcp-option=option:router," .. options.router, "dhcp-authoritative", "log-dhcp", "no-resolv", "no-hosts",
      "no-ping",
    "user=root", "dhcp-leasefile=" .. folder .. "/leases", "pid-file=" .. folder .. "/pid",
    reservation and ("dhcp-host=id:%s,%s"):format(hex(reservation.client_id), reservation.address) or "" }, "\n")
      .. "\n")
  return { "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=" .. folder .. "/conf" },
    "DHCP, sockets bound"
end

function kinds.dnsmasq6(options, folder)
  write(folder .. "/conf", table.concat({ "port=0", "interface=eth0", "bind-interfaces", "except-interface=lo",
    ("dhcp-range=%s,64,%d"):format(options.pool6:gsub("-", ","), options.lease), "log-dhcp", "no-resolv", "no-hosts",
    "user=root", "dhcp-leasefile=" .. folder .. "/leases", "pid-file=" .. folder .. "/pid" }, "\n") .. "\n")
  return { "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=" .. folder .. "/conf" },
    "DHCPv6, IP range"
end

function kinds.dhcpd(options, folder)
  local reservation = options.reserve
  write(folder .. "/leases", "")
  write(folder .. "/conf", table.concat({ "authoritative;", "ping-check false;", "ddns-update-style none;",
    ("default-lease-time %d; max-lease-time %d; min-lease-time 2;"):format(options.lease, options.lease),
    ("subnet %s netmask %s { range %s %s; option routers %s; }"):format(options.network, options.mask, options.first,
      options.last, options.router),
    reservation and ("host reserved { option dhcp-client-identifier %s; fixed-address %s; }"):format(
      hex(reservation.client_id), reservation.address) or "" }, "\n") .. "\n")
  return { "dhcpd", "-4", "-f", "-d", "-cf", folder .. "/conf", "-lf", folder .. "/leases", "-pf", folder .. "/pid",
    "eth0" },
    "Server starting service"
end

-- It knows clients by their MAC alone.
function kinds.udhcpd(options, folder)
  local reservation = options.reserve
  write(folder .. "/leases", "")
  write(folder .. "/conf", table.concat({ "start " .. options.first, "end " .. options.last, "interface eth0",
    "lease_file " .. folder .. "/leases", "pidfile " .. folder .. "/pid", "min_lease 2", "decline_time 60",
    "opt subnet " .. options.mask, "opt router " .. options.router, "opt lease " .. options.lease,
    reservation and ("static_lease %s %s"):format(reservation.mac, reservation.address) or "" }, "\n") .. "\n")
  return { "udhcpd", "-f", "-a", "50", folder .. "/conf" }, "started"
end

local Server = {}
Server.__index = Server

--- Start a server on eth0 of a namespace whose address there is set. Inside a task.
-- @tparam string kind  of `servers.kinds`
-- @tparam string host  the namespace
-- @tparam[opt] table options  `lease` (seconds, 600), `t1`, `t2`, `socket_type` (Kea), `first`, `last`, `network`,
--   `prefix`, `mask`, `router`, `reserve` (`client_id`, `mac`, `address`), `folder` (of a
--   stopped server, to go on with its leases), `lab` (spec.support.lab: `host` is one of its hosts)
function servers.start(kind, host, options)
  local all = { lease = 600, first = "10.77.0.150", last = "10.77.0.160", network = "10.77.0.0", prefix = 24,
    mask = "255.255.255.0", router = "10.77.0.1", pool6 = "fd77::1000-fd77::1fff",
    socket_type = "raw" }
  for name, value in pairs(options or {}) do all[name] = value end
  all.t1, all.t2 = all.t1 or all.lease // 3, all.t2 or all.lease * 2 // 3
  local self = setmetatable({ kind = kind, host = host, lab = all.lab,
    folder = all.folder or temporary.folder("moonlb-dhcp") }, Server)
  self.argv, self.ready, self.env = kinds[kind](all, self.folder)
  self:start()
  return self
end

--- Start it again, with the leases that it had.
function Server:start()
  if self.lab then
    self.process = self.lab:start(self.host, "env", table.unpack(table.move(self.argv, 1, #self.argv,
      #(self.env or {}) + 1, { table.unpack(self.env or {}) })))
  else
    self.process = assert(process.start({ "ip", "netns", "exec", self.host, table.unpack(self.argv) },
      { env = self.env }))
  end
  assert(self.process:wait_for(function() return self.process:output():find(self.ready, 1, true) end, 20),
    self.kind .. " did not start: " .. self.process:output())
end

-- In a lab the process is the one that waits for the server.
function Server:kill(signal)
  if self.lab then return self.process:is_running() and self.lab:signal(self.process, signal) end
  self.process:kill(signal)
end

--- Has it logged this?
function Server:has_said(text)
  return self.process:output():find(text, 1, true) ~= nil
end

--- Wait until it has.
function Server:until_said(text)
  return loop.until_true(function() return self:has_said(text) end, 10, self.kind .. " says " .. text)
end

--- Kea alone: a command over its control socket. @treturn table  the answer
function Server:command(name, arguments)
  local result = assert(process.run({ "socat", "-t5", "-", "UNIX-CONNECT:" .. self.folder .. "/control" },
    { input = cjson.encode({ command = name, arguments = arguments }) }))
  local answer = cjson.decode(result.output)
  assert(answer.result == 0 or answer.result == 3, result.output)	-- 3: nothing found
  return answer
end

--- End it; `is_kept`: its leases stay in `folder`.
function Server:stop(is_kept)
  self:kill("sigterm")
  if not self.process:wait(5) then
    self:kill("sigkill")
    self.process:wait(5)
  end
  if not is_kept then temporary.remove(self.folder) end
end

return servers
