--- `moonlb explain NS/NAME`: what became of a Service, and one sentence that says what is wrong and what to do.
-- @module moonlb.cli.explain
local explain = require("moonlb.control.explain")
local json = require("moonlb.json")
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
  settings.configure(parser, function(setting) return GROUPS[setting.group] end)
end

-- namespace/name; nil and what is wrong with it.
local function key_of(text)
  local key = text:find("/", 1, true) and text or "default/" .. text
  if key:match("^[%w%-]+/[%w%-%.]+$") then return key end
  return nil, ("%q: NAMESPACE/NAME of a Service expected"):format(text)
end

-- From the cluster alone. Where the API cannot be asked at all, that is the report.
local function from_cluster(key, values, environment)
  local facts, message, code = source.ask(values, environment, function(client)
    return require("moonlb.control.explain.cluster").facts(client, key, values)
  end)
  if facts then return explain.report(facts) end
  return nil, message, code
end

--- @tparam table args  `service`, `output`, and flags of the settings
-- @tparam[opt] table io_  `write(text)`, `complain(text)`, `environment`, `has_colour`; for specs
-- @treturn number  0: nothing is wrong; 1: something is; 2: it could not be found out
function command.run(args, io_)
  io_ = type(io_) == "table" and io_.environment and io_ or {}
  local environment = io_.environment or uv.os_environ()
  local complain = io_.complain or function(line) io.stderr:write(line) end
  local values, message = settings.resolve(args, environment)
  local key, report
  if values then key, message = key_of(args.service) end
  if key then report, message = from_cluster(key, values, environment) end
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
