--- The command line: picks the subcommand and hands over.
-- @module moonlb.cli
local cli = {}

function cli.main(argv)
  print(argv[1], require("moonlb.core.runtime").version, require("yaml"), require("argparse"), require("lyaml").load("a: [1,2]").a[2])
  return 0
end

return cli
