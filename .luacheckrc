std = "lua54"
max_line_length = 120
exclude_files = { "spec/attacks" }
files["spec"] = { std = "+busted" }
-- A policy is a pure function over the policy API: no io, os, package, debug, load, coroutine. It may name its rules.
files["policies"] = {
  std = {
    globals = { rule = { other_fields = true, read_only = false } },
    read_globals = {
      "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen",
      "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall", "math", "string", "table", "utf8",
      "use", "share", "dhcp", "refuse", "http", "log",
    },
  },
}
files["manifests/overlays/policies"] = files["policies"]
