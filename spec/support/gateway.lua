--- A home router in the lab: miniupnpd in the namespace `router`, behind it a namespace `inet` for the internet.
--
--     node1, node2, client ── eth0 router 10.77.0.1 ── wan0 192.0.3.1 ── eth0 inet 192.0.3.254
--
-- 192.0.3.1 looks public, which miniupnpd demands; nothing here leads out. Judges: `upnpc -l`, the router's nftables,
-- curl.
-- @module spec.support.gateway
local loop = require("spec.support.loop")
local uv = require("luv")

local gateway = {}

local Gateway = {}
Gateway.__index = Gateway

gateway.OUTSIDE = "192.0.3.1"
local INTERNET = "192.0.3.254"

-- The tables that miniupnpd is told to use, and forwarding.
local RULES = [[
table inet filter {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "eth0" accept
    jump miniupnpd
  }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
]]

local CONFIG = {
  ext_ip = gateway.OUTSIDE, ext_ifname = "wan0", listening_ip = "eth0", http_port = "5000", enable_upnp = "yes",
  enable_natpmp = "no", min_lifetime = "2", max_lifetime = "86400", secure_mode = "yes", system_uptime = "yes",
  notify_interval = "60", clean_ruleset_interval = "600", uuid = "11111111-2222-3333-4444-555555555555", serial = "1",
  model_number = "1", upnp_table_name = "filter", upnp_nat_table_name = "filter", upnp_forward_chain = "miniupnpd",
  upnp_nat_chain = "prerouting_miniupnpd", upnp_nat_postrouting_chain = "postrouting_miniupnpd",
}

-- Ports below 20000 are the router's own, which makes a rule to be denied by.
local PERMISSIONS = "allow 20000-65535 10.77.0.0/24 0-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function must(result)
  assert(result.code == 0, result.output)
  return result.output
end

--- The internet behind the lab's router; no gateway yet.
-- @tparam Lab lab  of spec.support.lab
function gateway.new(lab)
  local self = setmetatable({ lab = lab, folder = lab.folder .. "/upnp" }, Gateway)
  assert(uv.fs_mkdir(self.folder, 448))
  write(self.folder .. "/rules.nft", RULES)
  local function ip(...) must(lab:on("switch", "ip", ...)) end
  ip("netns", "add", "inet")
  ip("link", "add", "wan0", "netns", "router", "type", "veth", "peer", "name", "eth0", "netns", "inet")
  for _, link in ipairs({ { "router", "wan0", gateway.OUTSIDE }, { "inet", "eth0", INTERNET } }) do
    ip("-n", link[1], "address", "add", link[3] .. "/24", "dev", link[2])
    ip("-n", link[1], "link", "set", link[2], "up")
  end
  must(lab:on("router", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"))
  must(lab:on("router", "nft", "-f", self.folder .. "/rules.nft"))
  return self
end

--- Start miniupnpd, and wait until it serves.
-- @tparam[opt] table changes  of the configuration: name -> value, or false to leave it out; `permissions`: the rules
function Gateway:start(changes)
  local lines = {}
  for name, value in pairs(CONFIG) do
    local changed = changes and changes[name]
    if changed ~= false then lines[#lines + 1] = name .. "=" .. (changed or value) end
  end
  for name, value in pairs(changes or {}) do
    if name ~= "permissions" and value and not CONFIG[name] then lines[#lines + 1] = name .. "=" .. value end
  end
  table.sort(lines)
  lines[#lines + 1] = changes and changes.permissions or PERMISSIONS
  write(self.folder .. "/miniupnpd.conf", table.concat(lines, "\n"))
  self.daemon = self.lab:start("router", "miniupnpd", "-d", "-f", self.folder .. "/miniupnpd.conf",
    "-P", self.folder .. "/pid")
  loop.until_true(function()
    local is_mute = changes and changes.enable_upnp == "no"
    local port = is_mute and ":5351 " or (":%s "):format(changes and changes.http_port or CONFIG.http_port)
    return self.lab:on("router", "ss", is_mute and "-lun" or "-ltn").output:find(port, 1, true)
  end, 10, "miniupnpd")
end

--- Start the gateway of spec/support/gateway.py instead, which behaves as `mode` says.
-- @treturn Process  its output tells what it was asked
function Gateway:start_other(mode)
  self.other = self.lab:start("router", "python3", assert(uv.fs_realpath("spec/support/gateway.py")), mode)
  loop.until_true(function() return self.other:output():find("ready", 1, true) end, 10, "gateway.py")
  return self.other
end

--- End that.
function Gateway:stop_other()
  self.lab:signal(self.other, "sigkill")
  loop.until_true(function() return not self.other:is_running() end, 10, "end of gateway.py")
end

--- End it; what it mapped stays, as with a router that forgets to say goodbye, unless `is_clean`: then it is a restart.
function Gateway:stop(is_clean)
  self.lab:signal(self.daemon, "sigkill")
  loop.until_true(function() return not self.daemon:is_running() end, 10, "end of miniupnpd")
  os.remove(self.folder .. "/pid")
  if is_clean then
    must(self.lab:on("router", "nft", "flush", "chain", "inet", "filter", "miniupnpd"))
    must(self.lab:on("router", "nft", "flush", "chain", "inet", "filter", "prerouting_miniupnpd"))
  end
end

--- What `upnpc -l` on a host says: array of `{protocol=, external_port=, address=, port=, description=, lease=}`.
function Gateway:list(host)
  local output = self.lab:on(host or "client", "upnpc", "-u", "http://10.77.0.1:5000/rootDesc.xml", "-l").output
  local entries = {}
  for protocol, outside, address, port, description, lease in
    output:gmatch("%d+ (%u%u%u) +(%d+)%->([%d%.]+):(%d+) +'([^']*)' '[^']*' (%d+)") do
    entries[#entries + 1] = { protocol = protocol, external_port = tonumber(outside), address = address,
      port = tonumber(port), description = description, lease = tonumber(lease) }
  end
  return entries
end

--- `"TCP 32380 10.77.0.100:80"`, ..., ordered: all that is mapped.
function Gateway:mapped(host)
  local lines = {}
  for i, it in ipairs(self:list(host)) do
    lines[i] = ("%s %d %s:%d"):format(it.protocol, it.external_port, it.address, it.port)
  end
  table.sort(lines)
  return lines
end

--- Wait until exactly this is mapped.
function Gateway:until_mapped(lines, seconds)
  local seen
  local ok, err = pcall(loop.until_true, function()
    seen = table.concat(self:mapped(), ", ")
    return seen == table.concat(lines, ", ")
  end, seconds or 20, "mapped: " .. table.concat(lines, ", "))
  if not ok then error(("%s; seen: %s"):format(err, seen), 2) end
end

--- The destinations of the router's NAT rules: `"32380 -> 10.77.0.100:80"`, ordered.
function Gateway:rules()
  local lines = {}
  local output = must(self.lab:on("router", "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"))
  for outside, target in output:gmatch("th dport (%d+) dnat ip to ([%d%.:]+)") do
    lines[#lines + 1] = ("%s -> %s"):format(outside, target)
  end
  table.sort(lines)
  return lines
end

--- What a client on the internet gets from that outside port by HTTP; nil when it does not connect.
function Gateway:curl(port)
  local result = self.lab:on("inet", "curl", "-s", "--max-time", "3", ("http://%s:%d/"):format(gateway.OUTSIDE, port))
  return result.code == 0 and result.output or nil
end

--- Remove its files.
function Gateway:down()
  for _, name in ipairs({ "rules.nft", "miniupnpd.conf", "pid" }) do os.remove(self.folder .. "/" .. name) end
  uv.fs_rmdir(self.folder)
end

return gateway
