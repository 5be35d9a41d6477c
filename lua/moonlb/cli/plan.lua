--- `moonlb plan`: what moonlb would do, without doing it. With files it needs no cluster.
-- @module moonlb.cli.plan
local excerpt = require("moonlb.cli.excerpt")
local manifests = require("moonlb.cli.manifests")
local planner = require("moonlb.allocator.plan")
local offline = require("moonlb.policy.offline")
local report = require("moonlb.cli.plan_report")
local settings = require("moonlb.cli.settings")
local source = require("moonlb.cli.source")
local tables = require("moonlb.cli.table")
local uv = require("luv")

local plan = { name = "plan", summary = "show what moonlb would do, without doing it" }

local GROUPS = { Kubernetes = true, Allocating = true }

--- @param parser  argparse's command
function plan.configure(parser)
  parser:option("-f --filename", "manifests: a file, a folder or - for standard input; none: the live cluster")
    :count("*"):argname("FILE")
  parser:option("--policy", "a policy that decides, whatever the ConfigMap says"):argname("FILE")
  parser:option("-o --output", "how to say it"):choices({ "table", "json" }):default("table")
  settings.configure(parser, function(setting) return GROUPS[setting.group] end)
end

-- One line on standard error, and the source line that it speaks of.
local function fail(io_, message, line)
  local complain = io_.complain or function(text) io.stderr:write(text) end
  complain("moonlb plan: " .. message:gsub("\n", " ") .. "\n" .. (line and line .. "\n" or ""))
  return 2
end

-- The source lines that warnings speak of, each with the first that does.
local function add_excerpts(warnings, path, text)
  local seen = {}
  for _, warning in ipairs(warnings) do
    local line = excerpt.of(path, text, warning.message)
    if line and not seen[line] then warning.excerpt, seen[line] = line, true end
  end
end

-- Of the settings, those that the engine has a use for.
local function engine_settings(values, policy)
  return { configmap = values.configmap_namespace .. "/" .. values.configmap, policy = policy,
    lb_class_name = values.lb_class_name, lb_class_only = values.lb_class_only, no_spec_ip = values.no_spec_ip }
end

local function is_pending(decisions)
  for _, decision in ipairs(decisions) do
    if decision.action == "pending" then return true end
  end
  return false
end

local function show(result, args, io_)
  local has_colour = io_.has_colour
  if has_colour == nil then has_colour = tables.wants_colour() end
  local text = args.output == "json" and report.json(result) or report.text(result, has_colour)
  local write = io_.write or function(line) io.stdout:write(line) end
  write(text .. "\n")
end

-- What a policy's file makes of the objects. It runs where a mounted one would, in a worker with its limits; where it
-- fails, the stock policy decides, and that is a warning.
local function plan_by_file(objects, values, path)
  local text, message = offline.read(path)
  if not text then return nil, message end
  local result
  offline.run(function()
    local name = offline.name_of(path)
    local trial
    trial, message = offline.open(name, text, path, { settings = engine_settings(values), fallback = "default" })
    if not trial then return end
    result = planner.run(objects, { settings = engine_settings(values, name), host = trial.host })
    trial:close()
  end)
  if not result then return nil, message, excerpt.of(path, text, message) end
  add_excerpts(result.warnings, path, text)
  return result
end

--- @tparam table args  what argparse read: `filename` (array), `policy`, `output`, and flags of the settings
-- @tparam[opt] table io_  `write(text)`, `complain(text)`, `environment` {name = text}, `has_colour`; for specs
-- @treturn number  0; 1: a Service stays pending; 2: input cannot be read
function plan.run(args, io_)
  io_ = io_ or {}
  local environment = io_.environment or uv.os_environ()
  local values, warnings = settings.resolve(args, environment)
  if not values then return fail(io_, warnings) end
  local objects, result, message
  if args.filename[1] then
    objects, message = manifests.read(args.filename)
  else
    objects, message = source.live(values, environment)
  end
  if not objects then return fail(io_, message) end
  if args.policy then
    local line
    result, message, line = plan_by_file(objects, values, args.policy)
    if not result then return fail(io_, message, line) end
  else
    result = planner.run(objects, { settings = engine_settings(values) })
  end
  for i, warning in ipairs(warnings) do
    table.insert(result.warnings, i, { object = "environment", key = "", item = "", message = warning })
  end
  show(result, args, io_)
  return is_pending(result.decisions) and 1 or 0
end

return plan
