--- The pulse thread on a LAN: this process is the node (eth0), beside it on one bridge the namespaces `client` and
-- `stranger`. The bridge snoops on MLD and has a querier: a group that nobody joined gets no frames.
--
--     switch (br0) ── eth0 here 10.77.0.2, fd77::2 ── client .4 ── stranger .5 (a link-local address only)
local cjson = require("cjson")
local loop = require("spec.support.loop")
local process = require("moonlb.sandbox.process")
local pulse = require("moonlb.core.pulse")
local uv = require("luv")
require("spec.support.inside_lab")

local pulsing = {
  V4 = "10.77.0.100", V6 = "fd77::100",
  CLIENT_V4 = "10.77.0.4", CLIENT_V6 = "fd77::4",
}

local SCRIPT = [[
set -e
for name in switch client stranger; do ip netns add $name; ip -n $name link set lo up; done
ip -n switch link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 1 mcast_querier 1 \
  mcast_startup_query_interval 10 mcast_query_response_interval 10
ip -n switch link set br0 up
port() { ip -n switch link set $1 addrgenmode none master br0 up; }
ip link add eth0 type veth peer name p-node netns switch; port p-node
for name in client stranger; do
  ip -n $name link add eth0 type veth peer name p-$name netns switch; port p-$name
  ip -n $name link set eth0 up
done
ip link set eth0 up
echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_ignore
echo 2 >/proc/sys/net/ipv4/conf/eth0/arp_announce
ip address add 10.77.0.2/24 dev eth0
ip address add fd77::2/64 dev eth0 nodad
ip address add 10.77.0.100/32 dev lo scope host
ip address add fd77::100/128 dev lo nodad
ip -n client address add 10.77.0.4/24 dev eth0
ip -n client address add fd77::4/64 dev eth0 nodad
]]

--- Run a program on `host` (nil: here) to its end, the loop going on meanwhile: `{code=, output=}`.
function pulsing.run(host, ...)
  local argv = { ... }
  if host then argv = { "ip", "netns", "exec", host, ... } end
  return assert(process.run(argv))
end

--- The same for a program that has to succeed; its output.
function pulsing.must(host, ...)
  local result = pulsing.run(host, ...)
  assert(result.code == 0, ("%s: exit %s: %s"):format(table.concat({ ... }, " "), result.code, result.output))
  return result.output
end

local function link_of(host, name)
  local argv = { "-j", "link", "show", "dev", name }
  if host then table.insert(argv, 1, host) table.insert(argv, 1, "-n") end
  return cjson.decode(pulsing.must(nil, "ip", table.unpack(argv)))[1]
end

--- The MAC of an interface on `host` (nil: here).
function pulsing.mac(host, name)
  return link_of(host, name or "eth0").address
end

--- The index of an interface here.
function pulsing.index(name)
  return math.tointeger(link_of(nil, name or "eth0").ifindex)
end

local is_made = false

--- The body of an `it` that gets a started pulse, attached to eth0, whose loop is alive:
-- `body(p, events, index, mac, alive)`; `alive` is the timer that says so.
-- @tparam[opt] table options  of pulse.start
function pulsing.test(body, options)
  return loop.test(function()
    if not is_made then pulsing.must(nil, "sh", "-c", SCRIPT) end
    is_made = true
    local events = {}
    local settings = { on_event = function(event) events[#events + 1] = event end }
    for name, value in pairs(options or {}) do settings[name] = value end
    local p = assert(pulse.start(settings))
    local alive = uv.new_timer()
    alive:start(50, 50, function() p:alive() end)
    local index, mac = pulsing.index(), pulsing.mac()
    assert(p:attach(index, mac))
    local ok, err = pcall(body, p, events, index, mac, alive)
    alive:close()
    p:close()
    if not ok then error(err, 0) end
  end, 120)
end

--- The MACs that arping (or ndisc6) at `host` hears for `ip`, each once, and the program's exit code and output.
function pulsing.who_has(ip, host)
  local result
  if ip:find(":", 1, true) then
    result = pulsing.run(host or "client", "ndisc6", "-m", "-w", "500", "-r", "1", ip, "eth0")
  else
    result = pulsing.run(host or "client", "arping", "-b", "-c", "1", "-w", "1", "-I", "eth0", ip)
  end
  local macs, seen = {}, {}
  for mac in result.output:gmatch("%x%x:%x%x:%x%x:%x%x:%x%x:%x%x") do
    mac = mac:lower()
    if not seen[mac] then macs[#macs + 1] = mac end
    seen[mac] = true
  end
  return macs, result.code, result.output
end

--- Wait for an event with these fields; returns it.
function pulsing.until_event(events, fields)
  return loop.until_true(function()
    for _, event in ipairs(events) do
      local is_it = true
      for name, value in pairs(fields) do is_it = is_it and event[name] == value end
      if is_it then return event end
    end
  end, 10, "event " .. cjson.encode(fields) .. " in " .. cjson.encode({ table.unpack(events) }))
end

--- Send a frame that scapy builds from `expression`, `count` times, from `host`.
function pulsing.scapy(host, expression, count)
  pulsing.must(host, "/usr/bin/python3", "-c", ("from scapy.all import *\nsendp(%s, iface='eth0', count=%d, verbose=0)")
    :format(expression, count or 1))
end

return pulsing
