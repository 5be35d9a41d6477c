--- `moonlb manual`: the manual page, moonlb(1), made from the parser itself, in the macros of man(7).
-- @module moonlb.cli.manual
local runtime = require("moonlb.core.runtime")
local settings = require("moonlb.cli.settings")

local manual = { name = "manual", summary = "print the manual page, for man(1)" }

local DATE = "2026-11-23" -- of the words below

-- Text as a line of its own: no escape sequence, no macro.
local function plain(words)
  words = tostring(words):gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("%s*\n%s*", " ")
  return (words:gsub("^([.'])", "\\&%1"))
end

local Page = {}
Page.__index = Page

function Page:line(words)
  self[#self + 1] = words
end

function Page:section(title)
  self:line(".SH " .. title)
end

function Page:paragraph(words)
  self:line(".PP")
  self:line(plain(words))
end

-- What something is called, and what it is.
function Page:item(name, words)
  self:line(".TP")
  self:line(".B " .. plain(name))
  self:line(plain(words))
end

function Page:example(text)
  self:line(".PP\n.RS 4\n.nf")
  for line in (text .. "\n"):gmatch("(.-)\n") do self:line(plain(line)) end
  self:line(".fi\n.RE")
end

local function introduction(page)
  page:line((".TH MOONLB 1 %s \"moonlb %s\" \"User Commands\""):format(DATE, runtime.version))
  page:section("NAME")
  page:line("moonlb \\- give Kubernetes Services of type LoadBalancer an address on your own network")
  page:section("SYNOPSIS")
  page:line(".B moonlb\n.I command\n.RI [ option .\\|.\\|.]")
  page:section("DESCRIPTION")
  page:line(plain("moonlb picks the address of each Service of type LoadBalancer, puts it on a node, tells the "
    .. "neighbours by ARP and neighbour discovery, and keeps it reachable when nodes fail. It says on the Service what "
    .. "it did and why."))
  page:paragraph("The addresses that are its to give stand in the ConfigMap kubevip of the namespace kube-system, in "
    .. "the form that kube-vip's cloud provider reads. Which one a Service gets is decided by a policy, a Lua script.")
end

-- An option, by what it is called and what argparse says of it.
local function option(page, it)
  local names = table.concat(it._public_aliases, ", ")
  local usage = it:_get_usage():gsub("^%[(.*)%]$", "%1"):match("^%S+ (.*)$")
  page:item(usage and names .. " " .. usage or names, it:_get_description())
end

-- A command, its arguments and options, and the commands below it.
local function command(page, parser, path)
  local name = path .. parser._public_aliases[1]
  page:line(".SS " .. plain(name))
  page:line(plain((parser._summary or parser._description or ""):gsub("^%l", string.upper)) .. ".")
  if name == "moonlb run" then page:line("Its options are below, by what they are about.") end
  for _, it in ipairs(parser._arguments) do page:item(it:_get_usage(), it:_get_description()) end
  for _, it in ipairs(name == "moonlb run" and {} or parser._options) do
    if not it._public_aliases[1]:find("^%-h") then option(page, it) end
  end
  for _, below in ipairs(parser._commands) do command(page, below, name .. " ") end
end

local function flag_usage(it)
  if it.is_switch then return it.flag .. " [true|false]" end
  return ("%s <%s>"):format(it.flag, it.key:match("[^_]*$"))
end

local function default_text(it)
  if it.default == nil or type(it.default) == "table" or it.help:find("(default: ", 1, true) then return "" end
  return (" Default: %s."):format(tostring(it.default))
end

local function run_options(page)
  page:section("OPTIONS OF moonlb run")
  page:line("Every option has a variable of the environment, whose name stands behind it; names without MOONLB are "
    .. "kube\\-vip's. Options win over the environment, MOONLB's names over kube\\-vip's.")
  local group
  for _, it in ipairs(settings.list) do
    if it.group ~= group then page:line(".SS " .. plain(it.group)) end
    group = it.group
    page:item(flag_usage(it), ("%s.%s [%s]"):format(it.help:gsub("^%l", string.upper), default_text(it),
      table.concat(it.environment, ", ")))
  end
end

local FILES = {
  { "/etc/moonlb/policies/NAME.lua",
    "Policies of your own, chosen by the ConfigMap's keys policy and policy-<namespace>." },
  { "/run/moonlb", "What must survive a crash: the interfaces' ARP settings as they were." },
  { "~/.kube/config",
    "Credentials, where neither --kubeconfig nor $KUBECONFIG nor a Pod's ServiceAccount gives others." },
}

local EXIT = {
  { "0", "It was stopped by a signal, or the command did what it was asked." },
  { "1", "It could not go on; of plan: a Service stays pending; of policy: a test failed." },
  { "2", "A wrong option, credentials that cannot be used, a file that cannot be read." },
}

local function ending(page)
  page:section("SIGNALS")
  page:item("SIGTERM, SIGINT", "Other nodes take over, addresses are taken off the node, the Lease is given back; at "
    .. "most 10 s. A second signal ends it at once.")
  page:section("FILES")
  for _, it in ipairs(FILES) do page:item(it[1], it[2]) end
  page:section("EXIT STATUS")
  for _, it in ipairs(EXIT) do page:item(it[1], it[2]) end
  page:section("EXAMPLES")
  page:line("What would become of these manifests, without a cluster:")
  page:example("moonlb plan -f manifests/examples/shop.yaml")
  page:line(".PP\nThe daemon, from a machine on the nodes' LAN:")
  page:example("moonlb run --kubeconfig ~/.kube/config --interface eth0")
  page:line(".PP\nHow it fares: a page for people, and one for Prometheus:")
  page:example("http://NODE:2112/\nhttp://NODE:2112/metrics")
  page:section("SEE ALSO")
  page:line(".BR kubectl (1),\n.BR arping (8),\n.BR capabilities (7)")
end

--- The page.
-- @param parser  argparse's, of the whole command line
-- @treturn string  for man(1)
function manual.text(parser)
  local page = setmetatable({}, Page)
  introduction(page)
  page:section("COMMANDS")
  page:line("Each explains itself by \\-\\-help.")
  for _, it in ipairs(parser._commands) do command(page, it, "moonlb ") end
  run_options(page)
  ending(page)
  return table.concat(page, "\n") .. "\n"
end

function manual.configure() end

--- Print it.
function manual.run(_, parser)
  io.write(manual.text(parser))
  return 0
end

return manual
