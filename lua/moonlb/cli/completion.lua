--- `moonlb completion`: what a shell needs to complete our command line, made from the parser itself.
-- @module moonlb.cli.completion

local function configure(parser)
  parser:argument("shell", "bash, zsh or fish"):choices({ "bash", "zsh", "fish" })
end

local function run(arguments, parser)
  io.write(parser[("get_%s_complete"):format(arguments.shell)](parser))
  return 0
end

return {
  name = "completion",
  summary = "print the completion script of a shell",
  configure = configure,
  run = run,
}
