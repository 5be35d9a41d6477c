--- Throw-away certificates and a TLS server that is not ours: openssl s_server.
-- @module spec.support.tls
local uv = require("luv")

local http = require("spec.support.http")
local loop = require("spec.support.loop")

local tls = {}

local function openssl(...)
  local process = http.spawn("openssl", { ... }):wait(20)
  assert(process.code == 0, process.err)
end

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function key_arguments(path)
  return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path
end

local function authority(dir, name)
  local base = dir .. "/" .. name
  openssl("req", "-x509", "-days", "2", "-subj", "/CN=" .. name, "-out", base .. ".pem", key_arguments(base .. ".key"))
end

local function leaf(dir, name, ca, subject_alternatives)
  local base = dir .. "/" .. name
  openssl("req", "-x509", "-days", "2", "-subj", "/CN=" .. name, "-CA", ca .. ".pem", "-CAkey", ca .. ".key",
    "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=" .. subject_alternatives,
    "-out", base .. ".pem", key_arguments(base .. ".key"))
end

local made

--- Files below a temporary folder: `ca`, `other` (authorities), `server` (127.0.0.1 and api.example), `elsewhere`
-- (another name), `client`; each with `.pem` and `.key`. Made once a process; `tls.clean()` removes them.
-- @treturn string folder
function tls.folder()
  if made then return made end
  local dir = assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/moonlb-tls-XXXXXX"))
  authority(dir, "ca")
  authority(dir, "other")
  leaf(dir, "server", dir .. "/ca", "IP:127.0.0.1,DNS:api.example")
  leaf(dir, "elsewhere", dir .. "/ca", "DNS:elsewhere.example")
  leaf(dir, "client", dir .. "/ca", "DNS:client.example")
  made = dir
  return dir
end

function tls.clean()
  if not made then return end
  for _, name in ipairs({ "ca", "other", "server", "elsewhere", "client" }) do
    uv.fs_unlink(made .. "/" .. name .. ".pem")
    uv.fs_unlink(made .. "/" .. name .. ".key")
  end
  uv.fs_rmdir(made)
  made = nil
end

--- The text of one of those files.
function tls.pem(name) return read(tls.folder() .. "/" .. name) end

--- A server that answers each GET with a page on the connection.
-- @tparam string name  `server` or `elsewhere`
-- @return port, the process (kill it)
function tls.server(name, ...)
  local dir = tls.folder()
  local process = http.spawn("openssl", { "s_server", "-accept", "127.0.0.1:0", "-www", "-naccept", "20",
    "-cert", dir .. "/" .. name .. ".pem", "-key", dir .. "/" .. name .. ".key", ... })
  local port = loop.until_true(function()
    assert(not process.code, process.err)
    return process.out:match("ACCEPT 127%.0%.0%.1:(%d+)")
  end, 10, "s_server")
  return tonumber(port), process
end

return tls
