--- The command line: picks the subcommand and hands over.
-- @module moonlb.cli
local argparse = require("argparse")

local cli = {}

--- Exit code for what the user got wrong: a flag, a file that cannot be read.
cli.USAGE = 2

-- In the order of `--help`. Each module is `{name, summary, configure(parser), run(arguments) -> exit code}`.
local COMMANDS = { "run", "version" }

-- Printing help ends the command: thrown, and caught in `main`.
local Help = { __name = "moonlb.cli.help" }

local function add_help(parser)
  parser:flag("-h --help", "show this help and exit"):action(function()
    error(setmetatable({ text = parser:get_help() }, Help), 0)
  end)
end

local function build()
  local parser = argparse("moonlb", "Gives Kubernetes Services of type LoadBalancer an address on your own network.")
    :add_help(false):require_command(true):command_target("command")
    :help_max_width(100):help_description_margin(34):usage_max_width(100)
  add_help(parser)
  local commands = {}
  for _, name in ipairs(COMMANDS) do
    local command = require("moonlb.cli." .. name)
    local sub = parser:command(name, command.summary):add_help(false)
    add_help(sub)
    command.configure(sub)
    commands[name] = command
  end
  return parser, commands
end

-- Parsing may end in a result, in a help text, or in one line that says what is wrong.
local function parse(parser, argv)
  local ok, is_parsed, result = pcall(parser.pparse, parser, argv)
  if ok then return is_parsed and result, result end
  if getmetatable(is_parsed) == Help then return nil, nil, is_parsed.text end
  error(is_parsed, 0)
end

--- Run the program.
-- @tparam table argv  [0] is the program's name
-- @treturn integer  exit code
function cli.main(argv)
  local parser, commands = build()
  local arguments, problem, help = parse(parser, argv)
  if help then
    print(help)
    return 0
  end
  if not arguments then
    io.stderr:write(("moonlb: %s (see moonlb --help)\n"):format((problem:gsub("\n", " "))))
    return cli.USAGE
  end
  return commands[arguments.command].run(arguments)
end

return cli
