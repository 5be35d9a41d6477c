--- `moonlb plan`: what moonlb would do, without doing it. With files it needs no cluster.
-- @module moonlb.cli.plan
local manifests = require("moonlb.cli.manifests")
local planner = require("moonlb.allocator.plan")
local policy_host = require("moonlb.policy.host")
local report = require("moonlb.cli.plan_report")
local settings_reader = require("moonlb.allocator.settings")
local tables = require("moonlb.cli.table")

local plan = { name = "plan", summary = "show what moonlb would do, without doing it" }

--- Where objects come from when no file is given: `source.live(settings) -> array of objects | nil, message, code`.
-- Set by what knows the
-- cluster; a seam for specs as well.
plan.source = {}

--- @param parser  argparse's command
function plan.configure(parser)
  parser:option("-f --filename", "manifests: a file, a folder or - for standard input; none: the live cluster")
    :count("*"):argname("FILE")
  parser:option("--policy", "a policy that decides, whatever the ConfigMap says"):argname("FILE")
  parser:option("-o --output", "how to say it"):choices({ "table", "json" }):default("table")
end

local function fail(message)
  io.stderr:write("moonlb plan: ", (message:gsub("\n", " ")), "\n")
  return 2
end

local function read_text(path)
  local file, message, number = io.open(path, "rb")
  if not file then return nil, message, number end
  local text = file:read(2 << 20)
  file:close()
  if not text then return nil, path .. ": cannot be read, or is empty" end
  return text
end

local function load_policy(host, path)
  local text, message = read_text(path)
  if not text then return nil, message end
  local name = path:match("([^/]+)$"):gsub("%.lua$", "")
  if name == "default" then name = "default (of " .. path .. ")" end
  local loaded
  loaded, message = host:load(name, text, path)
  if not loaded then return nil, message end
  return name
end

local function objects_of(args, settings)
  if args.filename[1] then return manifests.read(args.filename) end
  if not plan.source.live then
    return nil, "no cluster is known; give manifests with -f FILE"
  end
  return plan.source.live(settings)
end

--- @tparam table args  what argparse read: `filename` (array), `policy`, `output`
-- @tparam[opt] table io_  `write(text)`, `environment(name)`, `has_colour`; for specs
-- @treturn number  0; 1: a Service stays pending; 2: input cannot be read
function plan.run(args, io_)
  io_ = io_ or {}
  local settings, complaints = settings_reader.read(io_.environment or os.getenv)
  local host = policy_host.new({})
  if args.policy then
    local name, message = load_policy(host, args.policy)
    if not name then return fail(message) end
    settings.policy = name
  end
  local objects, message = objects_of(args, settings)
  if not objects then return fail(message) end
  local result = planner.run(objects, { settings = settings, host = host })
  for i, complaint in ipairs(complaints) do
    table.insert(result.warnings, i, { object = "environment", key = "", item = "", message = complaint })
  end
  local has_colour = io_.has_colour
  if has_colour == nil then has_colour = tables.wants_colour() end
  local text = args.output == "json" and report.json(result) or report.text(result, has_colour)
  local write = io_.write or function(line) io.stdout:write(line) end
  write(text .. "\n")
  for _, decision in ipairs(result.decisions) do
    if decision.action == "pending" then return 1 end
  end
  return 0
end

return plan
