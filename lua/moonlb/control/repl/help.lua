--- What each name of a session is, with an example that can be typed as it is.
-- @module moonlb.control.repl.help
local collection = require("moonlb.control.repl.collection")

local help = {}

-- `{name, usage, what it is, example}` in the order of `help`. In an example $KEY is a Service, as it is anywhere,
-- $NAMESPACE its namespace, $HELD an address of this node, $VIP one of a Service; .$SERVICE and .$POOL lead to one.
help.ENTRIES = {
  { "services", "services[.NAMESPACE[.NAME]]", "Services of type LoadBalancer: state, addresses, who answers, and why",
    "services.$SERVICE.addresses" },
  { "pools", "pools[.NAME]", "the ConfigMap's pools, with how much of each is used", "pools.$POOL.used" },
  { "nodes", "nodes[.NAME]", "this node, those whose heartbeats are heard, those that the API knows", "nodes" },
  { "vips", 'vips["ADDRESS"]', "addresses that this node announces or knows of, and the state of each",
    'vips["$HELD"].state' },
  { "leases", "leases", "DHCP leases of Services", "leases" },
  { "mappings", "mappings", "ports that are open on the home router", "mappings" },
  { "policy", "policy[.NAME]", "policies: loaded or not, failures, file", "policy" },
  { "config", "config[.NAME]", "settings of the daemon, and the ConfigMap's keys", "config" },
  { "explain", 'explain("NAMESPACE/NAME")', "why a Service has its address, or none", 'explain("$KEY")' },
  { "plan", "plan{namespace=, name=, ip=, spec=, annotations=}",
    "which address such a Service would get; plan() is about all that there are", 'plan{namespace="$NAMESPACE"}' },
  { "probe", 'probe("ADDRESS")',
    "asks the LAN whether an address is free, and says why not; takes 0.6 s", 'probe("$VIP").free' },
  { "who_has", 'who_has("ADDRESS")', "asks the LAN for the MACs that answer for an address", 'who_has("$VIP")' },
  { "neighbours", "neighbours()", "the kernel's neighbours (ARP, NDP) on this node's LAN", "neighbours()" },
  { "queue", "queue()", "what waits to be decided and to be announced", "queue()" },
  { "log", 'log("LEVEL")', "the daemon's log level, until this session ends: debug, info, warn, error",
    'log("debug")' },
  { "watch", 'watch("EXPR", SECONDS)', "prints a value whenever it changes; Ctrl-C ends it",
    'watch("#services", 30)' },
  { "show", "show(VALUE[, ROWS])", "prints a value with more rows than usual, at most 1,000", "show(services, 200)" },
  { "print", "print(...)", "prints values on one line", "print(#services, #pools)" },
  { "release", 'release("VIP")', "gives an address up on this node for a minute (--write)", 'release("$VIP")' },
  { "move", 'move("VIP", "NODE")', "gives an address to another node (--write)", 'move("$VIP", "$NODE")' },
  { "announce", 'announce("VIP")', "tells the neighbours again who answers (--write)", 'announce("$VIP")' },
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

-- One of a collection; nil where nobody can be asked, too.
local function one_of(collections, what)
  local ok, rows = pcall(collection.rows, collections[what], 1)
  return ok and rows[1] or nil
end

local function address_of(all)
  local row = one_of(all, "vips")
  return row and row.address
end

-- For the names of an example. Where there is none of its kind, the collection itself is the example, or a name that
-- the answer says does not exist.
local LOOKS = {
  SERVICE = function(all)
    local row = one_of(all, "services")
    if not row then return nil end
    local namespace, name = row.name:match("^(.*)/(.*)$")
    return collection.accessor(namespace) .. collection.accessor(name)
  end,
  POOL = function(all)
    local row = one_of(all, "pools")
    return row and collection.accessor(row.name)
  end,
  KEY = function(all) return (one_of(all, "services") or { name = "shop/web" }).name end,
  NAMESPACE = function(all) return (one_of(all, "services") or { name = "shop/web" }).name:match("^[^/]+") end,
  NODE = function(all) return (one_of(all, "nodes") or { name = "node2" }).name end,
  HELD = address_of,
  VIP = function(all)
    local row = one_of(all, "services")
    return address_of(all) or row and row.addresses[1] or "10.77.0.100"
  end,
}

local function example_of(entry, collections)
  local found = {}
  for name in entry[4]:gmatch("%$(%u+)") do
    found[name] = LOOKS[name](collections)
    if not found[name] then return entry[1] end
  end
  return (entry[4]:gsub("%.?%$(%u+)", found))
end

--- One name.
-- @tparam string name
-- @tparam table collections  name -> collection of the session
-- @treturn string|nil  nil: there is no such name
function help.about(name, collections)
  local entry = by_name[name]
  if not entry then return nil end
  return ("%s\n  %s\n  example: %s"):format(entry[2], entry[3], example_of(entry, collections))
end

return help
