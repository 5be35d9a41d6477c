--- `moonlb doctor`: is everything there that moonlb needs, on this node and in this cluster?
-- @module moonlb.cli.doctor
local async = require("moonlb.async")
local control = require("moonlb.control.client")
local doctor = require("moonlb.control.doctor")
local json = require("moonlb.json")
local runtime = require("moonlb.core.runtime")
local settings = require("moonlb.cli.settings")
local source = require("moonlb.cli.source")
local tables = require("moonlb.cli.table")
local uv = require("luv")

local command = { name = "doctor", summary = "check the node and the cluster, and say how to mend what is wrong" }

local GROUPS = { ["What runs"] = true, Kubernetes = true, Announcing = true }
local COLOURS = { ok = "green", warn = "yellow", fail = "red" }
local LONGEST = 1 << 20	-- bytes of a file in /proc
local DISCARD = 9	-- RFC 863: whatever comes there is thrown away

--- @param parser  argparse's command
function command.configure(parser)
  parser:option("-o --output", "how to say it"):choices({ "table", "json" }):default("table")
  settings.configure(parser, function(setting) return GROUPS[setting.group] end)
end

local function read(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read(LONGEST)
  file:close()
  return text or ""
end

-- Of every process of this network that /proc shows: proc(5), "pid (name) state ppid ...".
local function processes()
  local list, here = {}, uv.fs_readlink("/proc/self/ns/net")
  local scan = uv.fs_scandir("/proc")
  for name in function() return scan and uv.fs_scandir_next(scan) end do
    local is_here = name:match("^%d+$") and uv.fs_readlink(("/proc/%s/ns/net"):format(name)) == here
    local stat = is_here and read(("/proc/%s/stat"):format(name))
    local pid, title, parent = (stat or ""):match("^(%d+) %((.-)%) %S (%d+)")
    if pid then
      list[#list + 1] = { pid = math.tointeger(pid), name = title, parent = math.tointeger(parent),
        command = read(("/proc/%s/cmdline"):format(name)) }
    end
  end
  return list
end

-- One datagram: the kernel has to ask for the neighbour's MAC.
local function poke(address)
  local socket = uv.new_udp()
  socket:try_send("", address, DISCARD)
  socket:close()
end

local function look_with(values, environment, client, client_error, ask)
  local netlink, netlink_error = require("moonlb.core.netlink").open()
  return { read = read, can_write = function(path) return uv.fs_access(path, "W") == true end, processes = processes,
    netlink = netlink, netlink_error = netlink_error, client = client,
    client_error = client_error, ask = ask, poke = poke, sleep = async.sleep, walltime = runtime.walltime,
    settings = values, environment = environment }
end

-- Without an API server the node is looked at all the same.
local function examine(values, environment, ask)
  local findings, message
  findings, message = source.ask(values, environment, function(client)
    return doctor.examine(look_with(values, environment, client, nil, ask))
  end)
  if findings then return findings end
  local task = async.run(function()
    findings = doctor.examine(look_with(values, environment, nil, message, ask))
  end)
  while not task.is_done do uv.run("once") end
  return findings
end

local function page(findings, has_colour)
  local paint = tables.painter(has_colour)
  local rows = {}
  for _, it in ipairs(findings) do
    rows[#rows + 1] = { it.result, it.check, it.says, colour = { COLOURS[it.result] } }
    if it.fix and it.result ~= "ok" then
      rows[#rows + 1] = { "", "", "mend it: " .. it.fix, colour = { [3] = "cyan" } }
    end
  end
  return table.concat(tables.lines({ { title = "RESULT" }, { title = "CHECK" }, { title = "" } }, rows, paint), "\n")
end

--- @tparam table args  `output`, and flags of the settings
-- @tparam[opt] table io_  `write(text)`, `complain(text)`, `environment`, `has_colour`, `ask`; for specs
-- @treturn number  0: nothing failed (warnings may be there); 1: something did; 2: a flag is wrong
function command.run(args, io_)
  io_ = type(io_) == "table" and io_.environment and io_ or {}
  local environment = io_.environment or uv.os_environ()
  local values, message = settings.resolve(args, environment)
  if not values then
    local complain = io_.complain or function(line) io.stderr:write(line) end
    complain("moonlb doctor: " .. message .. "\n")
    return 2
  end
  local path = values.state_dir .. "/control.sock"
  local ask = io_.ask or function(request) return control.call(path, request) end
  local findings = examine(values, environment, ask)
  local has_colour = io_.has_colour
  if has_colour == nil then has_colour = tables.wants_colour() end
  local write = io_.write or function(line) io.stdout:write(line) end
  local worst = doctor.worst(findings)
  if args.output == "json" then
    write(json.encode({ worst = worst, findings = json.array(findings) }, "  ") .. "\n")
  else
    write(page(findings, has_colour) .. "\n")
  end
  return worst == "fail" and 1 or 0
end

return command
