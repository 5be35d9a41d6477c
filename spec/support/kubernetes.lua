--- An API server for specs: the embedded one, or a real one, with kubectl at hand.
--
-- `MOONLB_CLUSTER=real` (set by spec/cluster/conformance) takes the server of `KUBECONFIG`; else each `start` gives a
-- fresh embedded one, in this process and on its loop. A spec names what it needs of the server:
-- `c:needs("ipmode")` skips it by name where that is missing.
-- @module spec.support.kubernetes
local uv = require("luv")

local http = require("spec.support.http")
local loop = require("spec.support.loop")
local temporary = require("spec.support.temporary")

local kubernetes = {}

local Cluster = {}
Cluster.__index = Cluster

-- Feature -> the Kubernetes 1.x that has it.
local since = {
  strict = 25, -- fieldValidation
  ipmode = 30, -- status.loadBalancer.ingress[].ipMode
  endpointslice_v1 = 21, -- discovery.k8s.io/v1
  loadbalancerclass = 24, -- spec.loadBalancerClass
  internal_traffic_policy = 22,
  namespace_label = 21, -- kubernetes.io/metadata.name
  keeps_cluster_ip = 21, -- PUT of a Service without clusterIP
  service_finalizer_object = 30, -- DELETE of a Service with finalizers answers the object
  self_subject_review = 28,
}
-- And, of no version: `faults` (the embedded one has them), `rbac` (a real one asks who may), `audit` (MOONLB_AUDIT_LOG
-- is a file that tells what ServiceAccounts asked).

-- The environment of kubectl: a home of its own, so that caches of other servers are not seen.
local function environment(home, kubeconfig, extra)
  local values = uv.os_environ()
  values.HOME, values.KUBECONFIG = home, kubeconfig
  for _, name in ipairs({ "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY" }) do
    values[name] = nil
  end
  for name, value in pairs(extra or {}) do
    values[name] = value
  end
  local list = {}
  for name, value in pairs(values) do
    list[#list + 1] = name .. "=" .. value
  end
  return list
end

local function start_embedded(options)
  local server = assert(require("moonlb.sandbox.api").start(options))
  local home = temporary.folder("moonlb-cluster")
  local kubeconfig = home .. "/kubeconfig"
  local file = assert(io.open(kubeconfig, "w"))
  file:write(server:kubeconfig())
  file:close()
  return setmetatable({
    embedded = server, home = home, kubeconfig = kubeconfig, server = server.url, is_real = false, minor = 32,
    faults = function(rule) assert(server.faults:set(rule)) end, namespaces = {}, processes = {},
  }, Cluster)
end

local function start_real()
  local kubeconfig = assert(os.getenv("KUBECONFIG"), "MOONLB_CLUSTER=real needs KUBECONFIG")
  local self = setmetatable({
    home = temporary.folder("moonlb-cluster"), kubeconfig = kubeconfig, is_real = true, namespaces = {}, processes = {},
  }, Cluster)
  local code, version, err = self:kubectl("get", "--raw", "/version")
  assert(code == 0, err)
  self.minor = assert(tonumber(version:match('"minor":%s*"(%d+)%+?"')), "no minor version in " .. version)
  local _, server = self:kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
  self.server = server
  return self
end

--- Start (or take) an API server. Call it inside `loop.test`.
-- @tparam[opt] table options  for the embedded one, see `moonlb.sandbox.api.start`
-- @treturn Cluster  `kubeconfig` (path), `server` (URL), `features` (see `since` above; each boolean), `is_real`,
--   `embedded` (the server object) and `faults(rule)` (see `moonlb.sandbox.faults`) when it is the embedded one
function kubernetes.start(options)
  local self = os.getenv("MOONLB_CLUSTER") == "real" and start_real() or start_embedded(options)
  self.features = { faults = self.faults ~= nil, rbac = self.is_real,
    audit = self.is_real and os.getenv("MOONLB_AUDIT_LOG") ~= nil }
  for name, minor in pairs(since) do
    self.features[name] = self.minor >= minor
  end
  return self
end

--- Skip the test, by name, unless the server has a feature.
-- @tparam string feature
-- @tparam[opt] function pending  busted's, as the `it` sees it; needed only outside `kubernetes.test`
function Cluster:needs(feature, pending)
  pending = pending or self.pending
  assert(self.features[feature] ~= nil, "no such feature: " .. feature)
  if not self.features[feature] then
    self:stop()
    pending(("the server (1.%d) lacks %s"):format(self.minor, feature))
  end
end

local client_minor

--- Skip the test, by name, unless kubectl is 1.`minor` or newer (Debian 12 has 1.20).
-- @tparam integer minor
-- @tparam[opt] function pending  as for `needs`
function Cluster:needs_client(minor, pending)
  pending = pending or self.pending
  if not client_minor then
    local version = self:run("version", "--client", "-o", "json")
    client_minor = tonumber(version:match('"minor":%s*"(%d+)%+?"')) or 0 -- built without a version: take it for old
  end
  if client_minor < minor then
    self:stop()
    pending(("kubectl 1.%d is older than 1.%d"):format(client_minor, minor))
  end
end

local function tail(value)
  return type(value) == "table" and value or {}
end

--- Start kubectl and do not wait: for `get -w`. Kill it when done.
-- @param ...  arguments; the last may be a table `{env={}, stdin=text}`
-- @treturn Process  of `spec.support.http`: `out`, `err`, `code`, `wait()`, `kill()`
function Cluster:spawn(...)
  local args = { ... }
  local options = tail(args[#args])
  if options == args[#args] then
    args[#args] = nil
  end
  local process = http.spawn(os.getenv("KUBECTL") or "kubectl", args, {
    env = environment(self.home, self.kubeconfig, options.env), stdin = options.stdin,
  })
  self.processes[process] = true
  return process
end

--- Run kubectl and wait.
-- @param ...  as for `spawn`
-- @treturn integer  exit code
-- @treturn string  standard output
-- @treturn string  standard error
function Cluster:kubectl(...)
  local process = self:spawn(...):wait(60)
  self.processes[process] = nil
  return process.code, process.out, process.err
end

--- Run kubectl, which must succeed.
-- @treturn string  standard output
-- @treturn string  standard error (warnings)
function Cluster:run(...)
  local code, out, err = self:kubectl(...)
  if code ~= 0 then
    local words = {}
    for _, word in ipairs({ ... }) do
      words[#words + 1] = type(word) == "string" and word or nil
    end
    error(("kubectl %s: exit %d\n%s%s"):format(table.concat(words, " "), code, out, err), 2)
  end
  return out, err
end

--- Run a command line, as it stands in a README, with kubectl on PATH and this server as its cluster.
-- @tparam string line
-- @treturn Process  that has ended
function Cluster:shell(line)
  return http.spawn("bash", { "-c", line }, { env = environment(self.home, self.kubeconfig) }):wait(60)
end

--- Apply a manifest (YAML or JSON text).
-- @param ...  more flags
function Cluster:apply(manifest, ...)
  local args = { "apply", "-f", "-", ... }
  args[#args + 1] = { stdin = manifest }
  return self:run(table.unpack(args))
end

local counter = 0

--- Make a namespace with a name of its own; what is in it goes at `stop`.
-- @treturn string  name
function Cluster:namespace()
  counter = counter + 1
  local name = ("spec-%d-%d-%d"):format(uv.os_getpid(), os.time() % 100000, counter)
  self:run("create", "namespace", name)
  table.insert(self.namespaces, name)
  return name
end

-- A real server without a controller manager never finishes a namespace, so its objects are deleted one kind each.
local function clean_real(self)
  for _, name in ipairs(self.namespaces) do
    self:kubectl("-n", name, "delete", "services,configmaps,leases,deployments", "--all", "--wait=false")
    self:kubectl("delete", "namespace", name, "--wait=false")
  end
end

--- Stop the embedded server, or remove what was made on the real one. Stopping twice is fine.
function Cluster:stop()
  if self.is_stopped then
    return
  end
  self.is_stopped = true
  for process in pairs(self.processes) do
    process:kill()
    process:wait()
  end
  if self.embedded then
    self.embedded:stop()
  else
    clean_real(self)
  end
  temporary.remove(self.home)
end

-- busted's `pending` of the running test is a global of the spec's own file and of no other.
local function pending_of(fn)
  local i, name, environment_of_file = 1, debug.getupvalue(fn, 1)
  while name and name ~= "_ENV" do
    i = i + 1
    name, environment_of_file = debug.getupvalue(fn, i)
  end
  return function(message)
    local raise = assert(environment_of_file, "a spec that uses no global has no pending").pending
    raise(message)
  end
end

--- The body of an `it` with a cluster of its own, stopped also when the test fails.
-- @tparam function fn  `fn(c)`
-- @tparam[opt=60] number timeout_s
-- @tparam[opt] table options  for the embedded server
-- @treturn function
function kubernetes.test(fn, timeout_s, options)
  return loop.test(function()
    local c = kubernetes.start(options)
    c.pending = pending_of(fn)
    local ok, err = xpcall(fn, function(message)
      return type(message) == "string" and debug.traceback(message, 2) or message
    end, c)
    c:stop()
    if not ok then
      error(err, 0)
    end
  end, timeout_s or 60)
end

return kubernetes
