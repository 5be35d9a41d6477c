--- A node's network as core.netlink shows it, and a pulse and senders as core.pulse, core.arp and core.ndp are; all of
-- them write down what they are told.
local kernel = {}

--- A netlink handle: `lo` (1) and `eth0` (2, MAC m2, 10.0.0.2/24). `all`: its addresses; `tell(event)`: a notification;
-- `refused.add`: an errno name; `said()`: the changes asked for since the last call.
function kernel.new()
  local it = { calls = {}, conf = { [2] = { arp_ignore = 0, arp_announce = 0 } }, refused = {},
    all = {
      { index = 1, address = "127.0.0.1", prefix = 8, family = 4, scope = "host", protocol = 0 },
      { index = 2, address = "10.0.0.2", prefix = 24, family = 4, scope = "global", protocol = 0 },
    } }
  local function note(...) it.calls[#it.calls + 1] = table.concat({ ... }, " ") end
  function it.monitor(_, fn) it.tell = function(event) fn(nil, event) end return true end
  function it.links()
    return { { index = 1, name = "lo", is_loopback = true, is_up = true },
      { index = 2, name = "eth0", mac = "m2", is_up = true, is_running = true } }
  end
  function it.addresses() return it.all end
  function it.default_route() return nil end
  function it.address_add(_, new)
    note("add", new.address .. "/" .. new.prefix, new.scope, new.protocol, tostring(new.nodad), new.index)
    if it.refused.add then return nil, "cannot add", it.refused.add end
    return true
  end
  function it.address_delete(_, old) note("delete", old.address .. "/" .. old.prefix) return true end
  function it.ipv4_conf(_, index) return it.conf[index] end
  function it.set_ipv4_conf(_, index, values)
    note("conf", index, values.arp_ignore, values.arp_announce)
    it.conf[index] = values
    return true
  end
  function it.close() note("close") end
  function it.said()
    local text = table.concat(it.calls, ", ")
    it.calls = {}
    return text
  end
  return it
end

--- The `parts` of moonlb.announcer.new. `said()`: what pulse and senders were told since the last call.
function kernel.parts(netlink)
  local log = {}
  local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
  local pulse = { attach = function() return true end }
  for _, name in ipairs({ "publish", "detach", "set_mac", "hold", "drop", "probe_for", "probe_done", "alive",
    "acknowledge", "close" }) do
    pulse[name] = function(_, ...) note(name, ...) return true end
  end
  local function sender(name)
    return { announce = function(_, _, list) note(name, table.concat(list, ",")) return #list end,
      probe = function(_, _, ip) note("probe", ip) return true end }
  end
  local parts = { open_netlink = function() return netlink end, arp = sender("arp"), ndp = sender("ndp") }
  function parts.start_pulse(on_event)
    parts.tell = on_event
    return pulse
  end
  function parts.said(verb)
    local lines = {}
    for _, line in ipairs(log) do if not verb or line:find("^" .. verb) then lines[#lines + 1] = line end end
    log = {}
    return table.concat(lines, ", ")
  end
  return parts
end

return kernel
