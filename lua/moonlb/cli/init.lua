--- The command line: picks the subcommand and hands over.
-- @module moonlb.cli
local argparse = require("argparse")

local cli = {}

--- Exit code for what the user got wrong: a flag, a file that cannot be read.
cli.USAGE = 2

-- In the order of `--help`. Each module is `{name, summary, configure(parser, add_help), run(arguments, parser) -> exit
-- code}`; `add_help(parser)` is for commands of its own below it; `run` gets the parser of the whole command line.
local COMMANDS = { "run", "plan", "explain", "repl", "eval", "doctor", "record", "move", "rebalance", "policy",
  "sandbox", "completion", "manual", "version" }

-- Asking for help ends the parsing: argparse has no other way out than an error, and makes a text of it.
local function add_help(parser, asked)
  parser:flag("-h --help", "show this help and exit"):action(function()
    asked.help = parser:get_help()
    error("help was asked for", 0)
  end)
end

-- The command that is named first, alone: to read all of them takes longer than most of them run. All for those that
-- describe the whole command line, and for help and complaints.
local function wanted(argv)
  for _, name in ipairs(COMMANDS) do
    if argv[1] == name and name ~= "completion" and name ~= "manual" then return { name } end
  end
  return COMMANDS
end

local function build(asked, names)
  local parser = argparse("moonlb", "Gives Kubernetes Services of type LoadBalancer an address on your own network.")
    :add_help(false):require_command(true):command_target("command")
    :help_max_width(100):help_description_margin(34):usage_max_width(100)
  add_help(parser, asked)
  local commands = {}
  for _, name in ipairs(names) do
    local command = require("moonlb.cli." .. name)
    local sub = parser:command(name, command.summary):add_help(false)
    add_help(sub, asked)
    command.configure(sub, function(below) add_help(below:add_help(false), asked) end)
    commands[name] = command
  end
  return parser, commands
end

-- The arguments; or nil and what is wrong; or nil, nil and the help that was asked for.
local function parse(parser, asked, argv)
  local ok, is_parsed, result = pcall(parser.pparse, parser, argv)
  if asked.help then return nil, nil, asked.help end
  if not ok then error(is_parsed, 0) end
  if is_parsed then return result end
  return nil, result
end

--- Run the program.
-- @tparam table argv  [0] is the program's name
-- @treturn integer  exit code
function cli.main(argv)
  local asked = {}
  local parser, commands = build(asked, wanted(argv))
  local arguments, problem, help = parse(parser, asked, argv)
  if help then
    print(help)
    return 0
  end
  if not arguments then
    io.stderr:write(("moonlb: %s (see moonlb --help)\n"):format((problem:gsub("\n", " "))))
    return cli.USAGE
  end
  return commands[arguments.command].run(arguments, parser)
end

return cli
