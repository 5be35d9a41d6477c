--- `doctor`: is everything there that moonlb needs? Each finding is `ok`, `warn` or `fail`, with the reason and the
-- command that mends it. Looks only; the checks are told how to look, so that a test can play a node.
-- @module moonlb.control.doctor
local doctor = {}

local GROUPS = { "node", "cluster", "daemon" }

--- The checks of all groups, in order: `{name=, group=, run=function(look, report)}`.
doctor.CHECKS = {}
for _, group in ipairs(GROUPS) do
  for _, it in ipairs(require("moonlb.control.doctor." .. group)) do
    it.group = group
    table.insert(doctor.CHECKS, it)
  end
end

local RESULTS = { ok = 0, warn = 1, fail = 2 }

--- Look at everything. In a task: the API may be asked, and the gateway waited for.
-- @tparam table look  how to look: `read(path)` -> text|nil; `can_write(path)` -> boolean; `processes()` -> array
--   of `{pid=, parent=, name=, command= (proc(5), cmdline)}` of this network; `netlink`
--   (moonlb.core.netlink) or nil, `netlink_error`; `client` (moonlb.kube.client) or nil, `client_error`;
--   `ask(request)` -> answer of the daemon here, or nil, message, code; `poke(address)`: has the kernel ask the LAN for
--   that address's MAC; `sleep(seconds)`; `walltime()`; `settings`
-- @treturn table  array of `{check=, group=, result="ok"|"warn"|"fail", says=, fix=|nil}`; what is not ok has a fix,
--   with a command that mends it or shows more
function doctor.examine(look)
  local findings = {}
  for _, check in ipairs(doctor.CHECKS) do
    local function report(result, says, fix)
      assert(RESULTS[result], "ok, warn or fail expected")
      findings[#findings + 1] = { check = check.name, group = check.group, result = result, says = says, fix = fix }
    end
    local is_done, problem = xpcall(check.run, debug.traceback, look, report)
    if not is_done then
      report("fail", "the check itself failed: " .. tostring(problem):match("^[^\n]*"),
        "run it as root, and report that: moonlb doctor -o json; moonlb version")
    end
  end
  return findings
end

--- The worst result.
-- @treturn string  "ok", "warn" or "fail"
function doctor.worst(findings)
  local worst = "ok"
  for _, it in ipairs(findings) do
    if RESULTS[it.result] > RESULTS[worst] then worst = it.result end
  end
  return worst
end

return doctor
