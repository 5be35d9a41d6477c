--- Every setting of the daemon in one table: flag, environment names (ours and kube-vip's), type, default, help.
-- The parser, the reading of the environment, `--help` and the warnings are all made from it. Flags win over the
-- environment, our names over kube-vip's.
-- @module moonlb.cli.settings
local label_selector = require("moonlb.kube.label_selector")

local settings = {}

-- Types: text to value, or nil and what would be right. ----------------------------------------------------------

local TRUE = { ["true"] = true, ["1"] = true, yes = true, on = true, t = true }
local FALSE = { ["false"] = true, ["0"] = true, no = true, off = true, f = true }

local types = {}

function types.text(text) return text end

function types.boolean(text)
  local word = text:lower()
  if TRUE[word] then return true end
  if FALSE[word] then return false end
  return nil, "true or false"
end

-- kube-vip writes `:2112`.
function types.port(text)
  local port = math.tointeger(tonumber(text:match("^:?(%d+)$") or text:match("^0%.0%.0%.0:(%d+)$")))
  if port and port <= 65535 then return port end
  return nil, "a port from 0 to 65535 (0: none)"
end

-- kube-vip gives milliseconds and seconds as bare numbers.
function types.milliseconds(text)
  local number = tonumber(text:match("^%d+$"))
  if number then return number / 1000 end
  return nil, "a number of milliseconds"
end

function types.seconds(text)
  local number = tonumber(text:match("^(%d+)s?$"))
  if number and number > 0 then return number end
  return nil, "a whole number of seconds"
end

function types.count(text)
  local number = math.tointeger(tonumber(text:match("^%d+$")))
  if number then return number end
  return nil, "a whole number"
end

-- Comma separated; empty items are nothing.
function types.list(text)
  local items = {}
  for item in text:gmatch("[^,%s]+") do items[#items + 1] = item end
  return items
end

-- kube-vip's log levels: numbers from 0 (info) up.
function types.level(text)
  local word = text:lower()
  if word == "debug" or word == "info" or word == "warn" or word == "error" then return word end
  if word == "4" or word == "5" or word == "-4" then return "debug" end
  if word:find("^[0-3]$") then return "info" end
  return nil, "debug, info, warn or error"
end

-- A function `(object) -> boolean` that says whether the object's labels match.
function types.label_selector(text)
  local selects, problem = label_selector.parse(text)
  if selects then return selects end
  return nil, "a label selector like role=edge,!slow (" .. problem .. ")"
end

local function choice(...)
  local words = { ... }
  return function(text)
    for _, word in ipairs(words) do
      if text == word then return word end
    end
    return nil, table.concat(words, ", ", 1, #words - 1) .. " or " .. words[#words]
  end
end

-- The table -------------------------------------------------------------------------------------------------------

local function setting(group, key, kind, default, environment, help)
  local flag = "--" .. key:gsub("_", "-")
  return { group = group, key = key, flag = flag, parse = types[kind] or kind, is_switch = kind == "boolean",
    default = default, environment = environment, help = help }
end

--- In the order of `--help`.
settings.list = {
  setting("What runs", "allocate", "boolean", nil, { "MOONLB_ALLOCATE" },
    "give addresses to Services (default: both halves; naming one turns the other off)"),
  setting("What runs", "announce", "boolean", nil, { "MOONLB_ANNOUNCE", "svc_enable" },
    "announce the addresses of Services from this node"),
  setting("What runs", "namespace", "text", nil, { "MOONLB_NAMESPACE", "svc_namespace" },
    "announce the Services of this namespace alone (addresses are allocated in all)"),
  setting("What runs", "node_name", "text", nil, { "MOONLB_NODE_NAME", "NODE_NAME", "vip_nodename" },
    "name of this node as the API knows it (default: the host name)"),

  setting("Kubernetes", "kubeconfig", "text", nil, { "MOONLB_KUBECONFIG", "k8s_config_file" },
    "credentials (default: the pod's, else $KUBECONFIG, else ~/.kube/config)"),
  setting("Kubernetes", "context", "text", nil, { "MOONLB_CONTEXT" }, "context of the kubeconfig"),
  setting("Kubernetes", "configmap", "text", "kubevip", { "MOONLB_CONFIGMAP", "KUBEVIP_CONFIG_MAP" },
    "name of the ConfigMap with the pools"),
  setting("Kubernetes", "configmap_namespace", "text", "kube-system",
    { "MOONLB_CONFIGMAP_NAMESPACE", "KUBEVIP_NAMESPACE" }, "its namespace; the Lease lies there too"),

  setting("Leading", "lease_duration", "seconds", 15, { "MOONLB_LEASE_DURATION", "vip_leaseduration" },
    "seconds after which a leader that was not seen to renew is replaced"),
  setting("Leading", "lease_renew_deadline", "seconds", 10, { "MOONLB_LEASE_RENEW_DEADLINE", "vip_renewdeadline" },
    "seconds after which a leader that could not renew stops to write"),
  setting("Leading", "lease_retry", "seconds", 2, { "MOONLB_LEASE_RETRY", "vip_retryperiod" },
    "seconds between renewals"),

  setting("Allocating", "lb_class_name", "text", nil,
    { "MOONLB_LB_CLASS_NAME", "lb_class_name", "KUBEVIP_CUSTOM_LOADBALANCERCLASS_NAME" },
    "loadBalancerClass that is ours (default: kube-vip.io/kube-vip-class)"),
  setting("Allocating", "lb_class_only", "boolean", false,
    { "MOONLB_LB_CLASS_ONLY", "lb_class_only", "KUBEVIP_ENABLE_LOADBALANCERCLASS" },
    "leave Services without a loadBalancerClass alone"),
  setting("Allocating", "no_spec_ip", "boolean", false, { "MOONLB_NO_SPEC_IP" },
    "leave spec.loadBalancerIP as it is; the annotation alone says the address"),
  setting("Allocating", "keep_ccm_finalizer", "boolean", false, { "MOONLB_KEEP_CCM_FINALIZER" },
    "leave the finalizer service.kubernetes.io/load-balancer-cleanup to another controller"),

  setting("Policies", "policy_dir", "text", "/etc/moonlb/policies", { "MOONLB_POLICY_DIR" },
    "folder with policies, NAME.lua each, chosen by the ConfigMap's keys policy and policy-<namespace>"),
  setting("Policies", "policy_fallback", choice("default", "pending"), "default", { "MOONLB_POLICY_FALLBACK" },
    "when a policy fails: default (the stock policy decides) or pending (the Service waits)"),
  setting("Policies", "policy_http_allow", "list", {}, { "MOONLB_POLICY_HTTP_ALLOW" },
    "hosts that policies may ask by http.get: HOST (any port) or HOST:PORT, comma separated"),

  setting("Announcing", "interface", "text", nil, { "MOONLB_INTERFACE", "vip_interface" },
    "interface that announces (default: that of the default route)"),
  setting("Announcing", "services_interface", "text", nil, { "MOONLB_SERVICES_INTERFACE", "vip_servicesinterface" },
    "the same for Services alone; wins over --interface; auto: the one whose subnet holds the address"),
  setting("Announcing", "probe", choice("fast", "rfc5227", "off"), "fast", { "MOONLB_PROBE" },
    "ask the LAN before an address is used: fast (150 ms), rfc5227 (its timings), off"),
  setting("Announcing", "preprobe", "boolean", false, { "MOONLB_PREPROBE" },
    "probe the next free address of each pool ahead of time: a new Service answers some 150 ms sooner"),
  setting("Announcing", "arp_rate", "milliseconds", nil, { "MOONLB_ARP_RATE", "vip_arpRate" },
    "announce again each so many milliseconds (default: only when something changes)"),
  setting("Announcing", "withdraw_without_endpoints", "boolean", false, { "MOONLB_WITHDRAW_WITHOUT_ENDPOINTS" },
    "do not announce a Service of externalTrafficPolicy Cluster that has no ready endpoint"),
  setting("Announcing", "heartbeat", "boolean", true, { "MOONLB_HEARTBEAT" },
    "agree with other nodes who announces what; false: this node is the only one, and announces everything"),
  setting("Announcing", "heartbeat_port", "port", 2113, { "MOONLB_HEARTBEAT_PORT" },
    "UDP port of the heartbeats between nodes"),
  setting("Announcing", "identity", "text", nil, { "MOONLB_IDENTITY" },
    "what tells this cluster's heartbeats from another's (default: the UID of namespace kube-system)"),
  setting("Announcing", "ignore_exclude_lb", "boolean", false, { "MOONLB_IGNORE_EXCLUDE_LB" },
    "announce from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers, too"),
  setting("Announcing", "node_selector", "label_selector", nil, { "MOONLB_NODE_SELECTOR" },
    "announce from nodes alone whose labels match, as kubectl's -l takes them (default: all)"),
  setting("Announcing", "state_dir", "text", "/run/moonlb", { "MOONLB_STATE_DIR" },
    "folder for what must survive a crash: the interfaces' ARP settings as they were"),

  setting("UPnP", "upnp", "boolean", false, { "MOONLB_UPNP", "enable_upnp" },
    "open the ports of Services annotated kube-vip.io/forwardUPNP: \"true\" on the home router: to the internet"),
  setting("UPnP", "upnp_all", "boolean", false, { "MOONLB_UPNP_ALL", "enableUPNP" },
    "the same for every Service that is not annotated \"false\""),
  setting("UPnP", "upnp_status", "boolean", false, { "MOONLB_UPNP_STATUS" },
    "show the router's outside address in the status of Services as well"),
  setting("UPnP", "upnp_any_port", "boolean", false, { "MOONLB_UPNP_ANY_PORT" },
    "let the router choose another port when the wanted one is taken"),
  setting("UPnP", "upnp_lease", "seconds", 3600, { "MOONLB_UPNP_LEASE" },
    "seconds that the router keeps a port open without hearing of us"),

  setting("Watching moonlb", "listen", "text", "0.0.0.0", { "MOONLB_LISTEN" },
    "address of the HTTP server for health, metrics and the status page"),
  setting("Watching moonlb", "port", "port", 2112, { "MOONLB_PORT", "prometheus_server", "health_check_port" },
    "its port; 0: no HTTP server"),
  setting("Watching moonlb", "status_page", "boolean", true, { "MOONLB_STATUS_PAGE" },
    "show the status page at / (it names Services, addresses and nodes); false: health and metrics alone"),
  setting("Watching moonlb", "log_level", "level", "info", { "MOONLB_LOG_LEVEL", "vip_loglevel" },
    "debug, info, warn or error"),
  setting("Watching moonlb", "log_format", choice("text", "json"), "text", { "MOONLB_LOG_FORMAT" }, "text or json"),
}

-- kube-vip's variables that moonlb knows and does not implement: said at start, so that nobody waits for them. A name
-- that ends in `_` stands for all that begin with it.
local NOT_IMPLEMENTED = {
  "bgp_", "cp_", "egress_", "lb_enable", "lb_port", "lb_fwdmethod", "vip_packet", "vip_address", "address", "vip_ddns",
  "vip_routingtable", "enable_wireguard", "enable_service_security", "enable_node_labeling", "EnableNodeLabeling",
  "enable_endpoints", "dns_mode", "mirror_dest_interface",
  "svc_leasename", "svc_election", "provider_config", "k8s_config_path",
}

-- Parsing ---------------------------------------------------------------------------------------------------------

--- Add every setting to a subcommand's parser, by group.
-- @param parser  argparse
-- @tparam[opt] function wanted  `(setting) -> boolean`; all when left out
function settings.configure(parser, wanted)
  local groups, order = {}, {}
  for _, it in ipairs(settings.list) do
    if not wanted or wanted(it) then
      local option = parser:option(it.flag, ("%s [%s]"):format(it.help, table.concat(it.environment, ", ")))
        :target(it.key):argname("<" .. it.key:match("[^_]*$") .. ">")
      if it.is_switch then option:args("?"):argname("<true|false>") end
      if not groups[it.group] then
        groups[it.group] = {}
        order[#order + 1] = it.group
      end
      table.insert(groups[it.group], option)
    end
  end
  for _, name in ipairs(order) do parser:group(name, table.unpack(groups[name])) end
end

-- What a flag gave, as text; nil when it was not given. A switch without a value is true.
local function flag_text(it, arguments)
  local given = arguments[it.key]
  if given == nil then return nil end
  if it.is_switch then return given[1] or "true" end
  return given
end

local function from_environment(it, environment, warnings)
  for _, name in ipairs(it.environment) do
    local text = environment[name]
    if text and text ~= "" then
      local value, right = it.parse(text)
      if value ~= nil then return value end
      warnings[#warnings + 1] = ("%s=%s: %s expected; using %s"):format(name, text, right, tostring(it.default))
    end
  end
  return nil
end

local function choose_halves(values)
  if values.allocate == nil and values.announce == nil then
    values.allocate, values.announce = true, true
  elseif values.allocate == nil then
    values.allocate = not values.announce
  elseif values.announce == nil then
    values.announce = not values.allocate
  end
end

local function is_unimplemented(name)
  for _, known in ipairs(NOT_IMPLEMENTED) do
    if name == known or known:sub(-1) == "_" and name:sub(1, #known) == known then return true end
  end
  return false
end

-- Passwords are among them: names are told, values are not.
local function add_unimplemented(warnings, environment)
  local names = {}
  for name, text in pairs(environment) do
    if text ~= "" and not FALSE[text:lower()] and is_unimplemented(name) then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    warnings[#warnings + 1] = name .. " is kube-vip's and has no effect in moonlb"
  end
end

local LEASE = { "lease_duration", "lease_renew_deadline", "lease_retry" }

-- What was renewed must run out at its holder before it does at those who wait, as in client-go. Flags that
-- break it are refused; the environment of another program's manifest is left out with a warning.
local function check_lease(values, arguments, warnings)
  local duration, deadline, retry = values.lease_duration, values.lease_renew_deadline, values.lease_retry
  if duration > deadline and deadline > 1.2 * retry then return true end
  local problem = ("lease duration %g, renew deadline %g, retry %g: the duration must be longer than the deadline, and "
    .. "that longer than 1.2 times the retry"):format(duration, deadline, retry)
  for _, key in ipairs(LEASE) do
    if arguments[key] then return nil, problem end
  end
  for _, it in ipairs(settings.list) do
    if it.group == "Leading" then values[it.key] = it.default end
  end
  warnings[#warnings + 1] = problem .. ("; using %g, %g and %g"):format(values.lease_duration,
    values.lease_renew_deadline, values.lease_retry)
  return true
end

--- The settings in force.
-- @tparam table arguments  argparse's result
-- @tparam table environment  name -> text
-- @treturn table  key -> value; or nil, message (one line: the flag, its value, what would be right)
-- @treturn table  warnings: unreadable and unimplemented variables
function settings.resolve(arguments, environment)
  local values, warnings = {}, {}
  for _, it in ipairs(settings.list) do
    local text = flag_text(it, arguments)
    local value, right
    if text ~= nil then
      value, right = it.parse(text)
      if value == nil then return nil, ("%s %s: %s expected"):format(it.flag, text, right) end
    else
      value = from_environment(it, environment, warnings)
    end
    if value == nil then value = it.default end
    values[it.key] = value
  end
  add_unimplemented(warnings, environment)
  local ok, problem = check_lease(values, arguments, warnings)
  if not ok then return nil, problem end
  if values.node_selector and not values.heartbeat then
    return nil, "--node-selector with --heartbeat false: a node without heartbeats has nobody to leave its VIPs to"
  end
  choose_halves(values)
  if not values.allocate and not values.announce then
    return nil, "--allocate false --announce false: nothing is left to do; give one of them"
  end
  return values, warnings
end

return settings
