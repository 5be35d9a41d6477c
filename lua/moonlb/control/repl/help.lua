--- What each name of a session is, with an example.
-- @module moonlb.control.repl.help
local help = {}

-- `{name, usage, what it is, example}` in the order of `help`.
help.ENTRIES = {
  { "services", "services[.NAMESPACE[.NAME]]", "Services of type LoadBalancer: state, addresses, who answers, and why",
    "services.shop.web.state" },
  { "pools", "pools[.NAME]", "the ConfigMap's pools, with how much of each is used", "pools.global.used" },
  { "nodes", "nodes[.NAME]", "this node, those whose heartbeats are heard, those that the API knows", "nodes" },
  { "vips", 'vips["ADDRESS"]', "addresses that this node announces or knows of, and the state of each",
    'vips["10.77.0.100"].state' },
  { "leases", "leases", "DHCP leases of Services", "leases" },
  { "mappings", "mappings", "ports that are open on the home router", "mappings" },
  { "policy", "policy[.NAME]", "policies: loaded or not, failures, file", "policy" },
  { "config", "config[.NAME]", "settings of the daemon, and the ConfigMap's keys", "config.probe.value" },
  { "explain", 'explain("NAMESPACE/NAME")', "why a Service has its address, or none", 'explain("shop/web")' },
  { "plan", "plan{namespace=, name=, ip=, spec=, annotations=}",
    "which address such a Service would get; plan() is about all that there are", 'plan{namespace="shop"}' },
  { "probe", 'probe("ADDRESS")',
    "asks the LAN whether an address is free, and says why not; takes 0.6 s", 'probe("10.77.0.100").free' },
  { "who_has", 'who_has("ADDRESS")', "asks the LAN for the MACs that answer for an address", 'who_has("10.77.0.1")' },
  { "neighbours", "neighbours()", "the kernel's neighbours (ARP, NDP) on this node's LAN", "neighbours()" },
  { "queue", "queue()", "what waits to be decided and to be announced", "queue().allocator.waiting" },
  { "log", 'log("LEVEL")', "the daemon's log level, until this session ends: debug, info, warn, error",
    'log("debug")' },
  { "watch", 'watch("EXPR", SECONDS)', "prints a value whenever it changes; Ctrl-C ends it",
    'watch("services.shop.web.state", 30)' },
  { "show", "show(VALUE[, ROWS])", "prints a value with more rows than usual, at most 1,000", "show(services, 200)" },
  { "print", "print(...)", "prints values on one line", "print(#services, #pools)" },
  { "release", 'release("VIP")', "gives an address up on this node for a minute (--write)", 'release("10.77.0.100")' },
  { "move", 'move("VIP", "NODE")', "gives an address to another node (--write)", 'move("10.77.0.100", "node2")' },
  { "announce", 'announce("VIP")', "tells the neighbours again who answers (--write)", 'announce("10.77.0.100")' },
  { "reload", "reload()", "reads the Services again and retries what is pending (--write)", "reload()" },
  { "help", "help [NAME]", "this list, or one name with its example", "help services" },
}

local by_name = {}
for _, entry in ipairs(help.ENTRIES) do by_name[entry[1]] = entry end

--- The list of names.
-- @treturn string  lines
function help.all()
  local lines = {}
  for _, entry in ipairs(help.ENTRIES) do lines[#lines + 1] = ("  %-11s %s"):format(entry[1], entry[3]) end
  table.move({
    "", "Any Lua works: VALUE or =VALUE prints it, local x = ... stays for the session, several lines are one when",
    "they need to be. Tab completes names and Services. Ctrl-C abandons a line or ends what runs, Ctrl-D leaves.",
    ":load FILE.lua decides by that policy in this session (plan), :unload ends that, :quit leaves.",
  }, 1, 4, #lines + 1, lines)
  return table.concat(lines, "\n")
end

--- One name.
-- @treturn string|nil  nil: there is no such name
function help.about(name)
  local entry = by_name[name]
  if not entry then return nil end
  return ("%s\n  %s\n  example: %s"):format(entry[2], entry[3], entry[4])
end

return help
