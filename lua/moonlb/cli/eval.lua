--- `moonlb eval 'EXPR'`: one expression of a session, for scripts.
-- @module moonlb.cli.eval
local edit = require("moonlb.core.edit")
local printable = require("moonlb.printable")
local repl = require("moonlb.cli.repl")
local session = require("moonlb.control.repl.session")
local tables = require("moonlb.cli.table")

local eval = { name = "eval", summary = "print the value of one expression of the repl" }

local MEMORY = 256 << 20

--- @param parser  argparse's command
function eval.configure(parser)
  parser:argument("expression", "Lua: an expression, or statements that end in return")
  parser:option("-o --output", "how to say it"):choices({ "table", "json" }):default("table")
  repl.add_flags(parser)
end

--- @tparam table args
-- @treturn integer  0; 1: the expression failed; 2: nobody could be asked
function eval.run(args)
  edit.catch_interrupts()
  local source, message = repl.open_source(args)
  if not source then
    io.stderr:write("moonlb eval: " .. message .. "\n")
    return 2
  end
  edit.limit_memory(MEMORY)
  local self = session.new({ source = source, has_colour = tables.wants_colour(),
    width = tables.terminal_width,
    write = function(text) io.stdout:write(text) end })
  local ok, problem = self:evaluate(args.expression, args.output)
  source:close()
  if ok then return 0 end
  io.stderr:write("moonlb eval: " .. printable.lines(problem) .. "\n")
  return 1
end

return eval
