--- `moonlb explain NS/NAME`: what became of a Service, and one sentence that says what is wrong and what to do.
-- @module moonlb.cli.explain
local control = require("moonlb.control.client")
local explain = require("moonlb.control.explain")
local facts = require("moonlb.control.explain.facts")
local json = require("moonlb.json")
local manifests = require("moonlb.cli.manifests")
local page = require("moonlb.control.explain.text")
local settings = require("moonlb.cli.settings")
local source = require("moonlb.cli.source")
local tables = require("moonlb.cli.table")
local uv = require("luv")

local command = { name = "explain", summary = "say why a Service has no address, or is not reached, and what to do" }

local GROUPS = { Kubernetes = true, Allocating = true }

--- @param parser  argparse's command
function command.configure(parser)
  parser:argument("service", "NAMESPACE/NAME of the Service (NAME alone: namespace default)")
  parser:option("-o --output", "how to say it"):choices({ "table", "json" }):default("table")
  parser:option("-f --filename", "manifests: a file, a folder or - for standard input; ask nobody"):count("*")
    :argname("FILE")
  parser:flag("--offline", "ask no moonlb that runs here, read the cluster alone")
  settings.configure(parser, function(setting) return GROUPS[setting.group] or setting.key == "state_dir" end)
end

-- namespace/name; nil and what is wrong with it.
local function key_of(text)
  local key = text:find("/", 1, true) and text or "default/" .. text
  if key:match("^[%w%-]+/[%w%-%.]+$") then return key end
  return nil, ("%q: NAMESPACE/NAME of a Service expected"):format(text)
end

-- From the cluster alone. Where the API cannot be asked at all, that is the report. `stale_socket`: a moonlb ran here,
-- and has ended without taking its socket away.
local function from_cluster(key, values, environment, stale_socket)
  local found, message, code = source.ask(values, environment, function(client)
    return require("moonlb.control.explain.cluster").facts(client, key, values)
  end)
  if not found then return nil, message, code end
  found.node, found.stale_socket = values.node_name or uv.os_gethostname(), stale_socket
  return explain.report(found)
end

-- From manifests alone.
local function from_files(key, values, paths)
  local objects, message = manifests.read(paths)
  if not objects then return nil, message end
  local configmap = values.configmap_namespace .. "/" .. values.configmap
  return explain.report(facts.of_manifests(key, objects, setmetatable({ configmap = configmap }, { __index = values })))
end

-- Nobody runs here, or not for us: then the cluster is read. Any other trouble is told beside it.
local NOT_HERE = { ENOENT = true, ECONNREFUSED = true, EACCES = true }

-- The report of the moonlb that runs here, which knows more; else of what the API shows.
local function report_of(key, values, environment, args)
  if args.filename and args.filename[1] then return from_files(key, values, args.filename) end
  local is_offline = args.offline
  local path = values.state_dir .. "/control.sock"
  local report, problem, code
  if not is_offline then report, problem, code = control.call(path, { op = "explain", service = key }) end
  if report then return explain.mark(report) end
  local message
  report, message = from_cluster(key, values, environment, code == "ECONNREFUSED" and path or nil)
  if report and problem and not NOT_HERE[code] then
    table.insert(report.notes, ("the moonlb here was asked and did not answer (%s): this is from the API alone"):format(
      problem))
  end
  return report, message
end

--- @tparam table args  `service`, `output`, `filename` (array), `offline`, and flags of the settings
-- @tparam[opt] table io_  `write(text)`, `complain(text)`, `environment`, `has_colour`; for specs
-- @treturn number  0: nothing is wrong; 1: something is; 2: it could not be found out
function command.run(args, io_)
  io_ = type(io_) == "table" and io_.environment and io_ or {}
  local environment = io_.environment or uv.os_environ()
  local complain = io_.complain or function(line) io.stderr:write(line) end
  local values, message = settings.resolve(args, environment)
  local key, report
  if values then key, message = key_of(args.service) end
  if key then report, message = report_of(key, values, environment, args) end
  if not report then
    complain("moonlb explain: " .. message:gsub("\n", " ") .. "\n")
    return 2
  end
  local has_colour = io_.has_colour
  if has_colour == nil then has_colour = tables.wants_colour() end
  local write = io_.write or function(line) io.stdout:write(line) end
  write((args.output == "json" and json.encode(report, "  ") or page.page(report, has_colour)) .. "\n")
  return report.is_well and 0 or 1
end

return command
