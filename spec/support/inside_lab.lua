--- Required by what changes the network it is in: raises unless spec/lab/enter gave this process one of its own.
-- @module spec.support.inside_lab
assert(os.getenv("MOONLB_LAB") == "1",
  "specs of spec/lab change the network: start them with spec/run, which gives them one")

return true
