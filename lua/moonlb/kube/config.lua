--- How to reach the API server: the files of a pod, or a kubeconfig.
--
-- The result is the options table of `moonlb.core.kube.client`. A kubeconfig is read as kubectl reads it: the files of
-- $KUBECONFIG (a colon list; the first that names a thing wins) or ~/.kube/config; contexts; inline data or files;
-- `exec` plugins (client.authentication.k8s.io v1 and v1beta1).
-- @module moonlb.kube.config
local lyaml = require("lyaml")
local base64 = require("moonlb.kube.base64")
local exec_credential = require("moonlb.kube.exec_credential")

local config = {}

local SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

local function read_file(path)
  local file, message = io.open(path, "rb")
  if not file then return nil, message end
  local text = file:read(4 << 20) or ""
  file:close()
  return text
end

--- In a pod: the environment and the ServiceAccount's files.
-- @tparam table environment  name -> text
-- @tparam[opt] string folder  of the ServiceAccount's files
-- @treturn table  options for moonlb.core.kube.client, plus `namespace`; nil when this is no pod; nil, message, code
function config.in_cluster(environment, folder)
  local host, port = environment.KUBERNETES_SERVICE_HOST, environment.KUBERNETES_SERVICE_PORT
  if not host or not port then return nil end
  folder = folder or SERVICE_ACCOUNT
  local token, message = read_file(folder .. "/token")
  if not token then return nil, "in-cluster credentials: " .. message, "ENOENT" end
  if host:find(":", 1, true) then host = "[" .. host .. "]" end
  return {
    server = ("https://%s:%s"):format(host, port),
    ca_file = folder .. "/ca.crt", token_file = folder .. "/token",
    namespace = read_file(folder .. "/namespace"), source = "in-cluster",
  }
end

-- A relative path in a kubeconfig is relative to that file.
local function resolve(path, from)
  if not path or path:sub(1, 1) == "/" then return path end
  return (from:match("^(.*)/[^/]*$") or ".") .. "/" .. path
end

local function load_file(path)
  local text, message = read_file(path)
  if not text then return nil, "kubeconfig: " .. message end
  local ok, document = pcall(lyaml.load, text)
  if not ok then
    return nil, ("kubeconfig %s: %s"):format(path, tostring(document):gsub("^.-:%d+: ", ""))
  end
  if type(document) ~= "table" then return nil, ("kubeconfig %s: a mapping expected"):format(path) end
  return document
end

-- The first file that names a cluster, user or context wins; so does the first current-context.
local function merge(paths)
  local merged = { clusters = {}, users = {}, contexts = {} }
  for _, path in ipairs(paths) do
    local document, message = load_file(path)
    if not document then return nil, message end
    for _, kind in ipairs({ "clusters", "users", "contexts" }) do
      for _, item in ipairs(type(document[kind]) == "table" and document[kind] or {}) do
        if type(item) == "table" and item.name and not merged[kind][item.name] then
          merged[kind][item.name] = { value = item[kind:sub(1, -2)] or {}, path = path }
        end
      end
    end
    merged.current = merged.current or document["current-context"]
    merged.path = merged.path or path
  end
  return merged
end

local function pem(data, where)
  if data == nil then return nil end
  local text = type(data) == "string" and base64.decode(data)
  if not text then return nil, where .. ": base64 expected" end
  return text
end

-- The text of a field; a number (a token of digits without quotes) is refused, as kubectl does.
local function text_field(map, field, where)
  local value = map[field]
  if value == nil or type(value) == "string" then return value end
  return nil, ("%s.%s: text expected; quote it"):format(where, field)
end

-- Copy text fields under our names: `wanted` maps ours to the kubeconfig's.
local function copy_fields(options, map, wanted, where)
  for ours, theirs in pairs(wanted) do
    local value, message = text_field(map, theirs, where)
    if message then return nil, message end
    options[ours] = value
  end
  return true
end

local function add_cluster(options, entry, name)
  local cluster = entry.value
  local ok, message
  if type(cluster.server) ~= "string" or not cluster.server:find("^https?://") then
    return nil, ("kubeconfig %s: clusters[%s].cluster.server: an http(s) URL expected"):format(entry.path, name)
  end
  if cluster["insecure-skip-tls-verify"] then
    return nil, ("kubeconfig %s: clusters[%s]: insecure-skip-tls-verify is not supported; give the "
      .. "certificate-authority of the server"):format(entry.path, name)
  end
  local where = ("kubeconfig %s: clusters[%s].cluster"):format(entry.path, name)
  ok, message = copy_fields(options, cluster, { server = "server", server_name = "tls-server-name",
    proxy = "proxy-url", ca_file = "certificate-authority" }, where)
  if not ok then return nil, message end
  options.ca_file = resolve(options.ca_file, entry.path)
  options.ca_data, message = pem(cluster["certificate-authority-data"], where .. ".certificate-authority-data")
  return not message, message
end

local function add_user(options, entry, name)
  local user = entry.value
  local where = ("kubeconfig %s: users[%s].user"):format(entry.path, name)
  local ok, message = copy_fields(options, user, { token = "token", token_file = "tokenFile",
    cert_file = "client-certificate", key_file = "client-key" }, where)
  if not ok then return nil, message end
  for _, field in ipairs({ "token_file", "cert_file", "key_file" }) do
    options[field] = resolve(options[field], entry.path)
  end
  options.cert_data, message = pem(user["client-certificate-data"], where .. ".client-certificate-data")
  if message then return nil, message end
  options.key_data, message = pem(user["client-key-data"], where .. ".client-key-data")
  if message then return nil, message end
  if user.username or user.password then
    return nil, where .. ": username and password are not supported (Kubernetes dropped them in 1.19); use a token"
  end
  if user["auth-provider"] then
    return nil, where .. ": auth-provider is not supported (Kubernetes dropped it in 1.26); use exec"
  end
  if user.exec then
    options.exec, message = exec_credential.parse(user.exec, where .. ".exec", resolve, entry.path)
    if not options.exec then return nil, message end
  end
  return true
end

--- Read a kubeconfig.
-- @tparam table paths  list of files
-- @tparam[opt] string context  instead of current-context
-- @treturn table  options for moonlb.core.kube.client, plus `exec` (for moonlb.kube.exec_credential), `namespace` and
--   `source`; or nil, message (one line that names file and field), `"EINVAL"`
function config.kubeconfig(paths, context)
  local merged, message = merge(paths)
  if not merged then return nil, message, "EINVAL" end
  local name = context or merged.current
  if not name or name == "" then
    return nil, ("kubeconfig %s: no current-context, and no context was named"):format(merged.path or "?"), "EINVAL"
  end
  local chosen = merged.contexts[name]
  if not chosen then return nil, ("kubeconfig %s: no context %q"):format(merged.path, name), "EINVAL" end
  local cluster = merged.clusters[chosen.value.cluster]
  if not cluster then
    return nil, ("kubeconfig %s: context %q: no cluster %q"):format(chosen.path, name,
      tostring(chosen.value.cluster)), "EINVAL"
  end
  local options = { namespace = chosen.value.namespace, source = "context " .. name .. " of " .. chosen.path }
  local ok
  ok, message = add_cluster(options, cluster, chosen.value.cluster)
  if not ok then return nil, message, "EINVAL" end
  local user = chosen.value.user
  if user and user ~= "" then
    if not merged.users[user] then
      return nil, ("kubeconfig %s: context %q: no user %q"):format(chosen.path, name, user), "EINVAL"
    end
    ok, message = add_user(options, merged.users[user], user)
    if not ok then return nil, message, "EINVAL" end
  end
  return options
end

local function existing(paths)
  local found = {}
  for _, path in ipairs(paths) do
    local file = io.open(path, "rb")
    if file then
      file:close()
      found[#found + 1] = path
    end
  end
  return found
end

--- What a program would use that was told nothing: --kubeconfig, else a pod's files, else $KUBECONFIG, else
-- ~/.kube/config.
-- @tparam table request  `kubeconfig` (path or nil), `context` (or nil)
-- @tparam table environment  name -> text
-- @treturn table  options; or nil, message, code
function config.load(request, environment)
  if request.kubeconfig then return config.kubeconfig({ request.kubeconfig }, request.context) end
  local options, message, code = config.in_cluster(environment)
  if options or message then return options, message, code end
  local paths = {}
  for path in (environment.KUBECONFIG or ""):gmatch("[^:]+") do paths[#paths + 1] = path end
  if #paths == 0 and environment.HOME then paths[1] = environment.HOME .. "/.kube/config" end
  local found = existing(paths)
  if #found == 0 then
    return nil, ("no credentials: this is no pod, and there is no kubeconfig (%s); name one with --kubeconfig"):format(
      #paths > 0 and table.concat(paths, ", ") or "HOME and KUBECONFIG are unset"), "ENOENT"
  end
  return config.kubeconfig(found, request.context)
end

return config
