--- The daemon gives up what it does not need before it talks to anybody: capabilities(7), what set-uid programs would
-- give, and system calls that are others' jobs (core/privileges.h).
-- @module moonlb.daemon.privileges
local log = require("moonlb.core.log")
local core = require("moonlb.core.privileges")
local uv = require("luv")

local privileges = {}

--- Kept where the process has them. Addresses and links; raw frames; DHCP's port 68; the pulse thread's turn.
privileges.KEPT = { "net_admin", "net_raw", "net_bind_service", "sys_nice" }

local FILES = { "ca_file", "cert_file", "key_file", "token_file" }
local READ_BY_OTHERS = 4 -- of st_mode

--- What this process keeps. Root reads everybody's files by a capability: kept only where the credentials are such
-- files, as with sudo and the kubeconfig of who called it, since they are read again when they change.
-- @tparam table credentials  of moonlb.kube.config: `ca_file`, `cert_file`, `key_file`, `token_file`
-- @tparam function stat  path -> `{uid=, mode=}` or nil
-- @tparam integer uid  of this process
-- @treturn table  array of names
function privileges.needed(credentials, stat, uid)
  local names = table.move(privileges.KEPT, 1, #privileges.KEPT, 1, {})
  for _, field in ipairs(FILES) do
    local found = uid == 0 and credentials[field] and stat(credentials[field])
    if found and found.uid ~= 0 and found.mode & READ_BY_OTHERS == 0 then
      names[#names + 1] = "dac_read_search"
      break
    end
  end
  return names
end

--- Drop the rest, for good. Before any thread is started. What cannot be dropped is said, and no reason not to run.
-- @tparam table credentials  see `needed`
function privileges.drop(credentials)
  local is_bounded, message, code = core.drop(privileges.needed(credentials, uv.fs_stat, uv.getuid()))
  if is_bounded == nil then
    log.warn("cannot give up privileges", { error = message, code = code })
  else
    log.debug("gave up privileges", { bounding_set = is_bounded and "cut" or "as it was" })
  end
end

return privileges
